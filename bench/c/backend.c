/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest service, for what a launch costs besides the program itself.
 *
 *   backend COUNT          descriptor 3 is a listening socket: answers so many callers, then ends
 *   backend connection     stdout is the connection: answers its caller and ends
 *
 * The answer is one byte, the eight of CLOCK_MONOTONIC at the beginning of main, and the four of the process id.
 */
#define _GNU_SOURCE
#include "loop.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	uint64_t now = loop_now();
	uint32_t pid = (uint32_t)getpid();
	char answer[1 + sizeof now + sizeof pid] = {'x'};
	memcpy(answer + 1, &now, sizeof now);
	memcpy(answer + 1 + sizeof now, &pid, sizeof pid);
	if (argc != 2)
		return 64;
	if (!strcmp(argv[1], "connection"))
		return write(1, answer, sizeof answer) != sizeof answer;
	for (int count = atoi(argv[1]); count > 0; count--) {
		int fd = accept(3, NULL, NULL);
		if (fd < 0)
			loop_die("accept");
		(void)!send(fd, answer, sizeof answer, MSG_NOSIGNAL);
		close(fd);
	}
	return 0;
}
