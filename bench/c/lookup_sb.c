/* Closed-loop clients of session.sock that look a name up, with raw system calls.
 *
 *   lookup_sb FOLDER NAME CLIENTS SECONDS [latencies]
 *
 * FOLDER is the broker's runtime folder. What it prints: loop.h.
 */
#include "sb.h"

#include <stdlib.h>

static const char *folder, *name;

struct session {
	int fd;
	uint32_t id;
	size_t size;
	unsigned char request[256];
	unsigned char reply[SB_PACKET];
};

static void *open_session(void)
{
	struct session *s = calloc(1, sizeof *s);
	if (!s)
		loop_die("calloc");
	s->fd = sb_session(folder);
	s->id = 1;
	s->size = sb_header(s->request, SB_REQUEST, SB_LOOK_UP, 0, 0);
	s->size = sb_bytes(s->request, s->size, 1, name, strlen(name));
	s->size = sb_number(s->request, s->size, 2, SB_SERVICE);
	return s;
}

static uint64_t step(void *client)
{
	struct session *s = client;
	s->id++;
	memcpy(s->request + 4, &s->id, 4);
	size_t n = sb_exchange(s->fd, s->request, s->size, s->reply, sizeof s->reply);
	if (sb_find(s->reply + SB_HEADER, n - SB_HEADER, 3, NULL) == 0)
		loop_die("a look-up reply without an entry");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 5) {
		fprintf(stderr, "usage: %s FOLDER NAME CLIENTS SECONDS [latencies]\n", argv[0]);
		return 64;
	}
	folder = argv[1];
	name = argv[2];
	struct loop l = {
		.clients = atoi(argv[3]),
		.seconds = atof(argv[4]),
		.latencies = argc > 5,
		.open = open_session,
		.step = step,
	};
	return loop_run(&l);
}
