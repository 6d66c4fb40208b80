// SPDX-License-Identifier: Apache-2.0
// A backend of running-process v1 for tests: cc -O2 -pthread backend.c -o backend (Linux, libc only).
//
// It adopts RUNNING_PROCESS_BROKER_LISTENER_FD or binds RUNNING_PROCESS_BROKER_V1_BACKEND_PIPE, answers
// identity probes and requests on lane 0xF415, and takes handed-off connections at
// RUNNING_PROCESS_BROKER_V1_HANDOFF_PIPE if that is set. Requests: "ping" (and any other text) is answered
// "pid=… version=… service=… via=direct|handoff listener=adopted|bound probes=N handoffs=N helper=PID";
// "env" the environment, "fds" the open descriptors, "echo TEXT" TEXT, "sleep MS" late, "close" and "exit N"
// not at all. "backend selftest" checks the hashes. Words of its mode (TEST_BACKEND, or the file's name;
// see mode.h; N in ms but for counts):
//
//   adopt         a missing listener descriptor is fatal        bind      never adopts; a path in use is replaced
//   strict        like bind, a path in use is fatal             late N    listens (adopted: accepts) after N
//   never         neither listens nor accepts                   deaf      accepts, reads nothing, says nothing
//   hangup        accepts and closes                            slow-accept N  waits before each accept
//   crash N       dies N after its start                        crash-starts N  the first N starts die at once
//   crash-probes N  dies after N answered probes                idle N    exits after N without a connection
//   noterm        ignores SIGTERM                               helper    starts a child that stays
//   plain         probe answer without the old field 3          nohandoff  no handoff endpoint
//   wrong X       probe answer with a lie: pid hash nonce id kind path boot endpoint namespace algorithm size
//                 missing (no endpoint) short (31-byte payload)
//   handoff X     late N, refuse, silent, close (before the offer), token, id, kind (in the ack), crash,
//                 drop (accepts and closes), blocking (clears O_NONBLOCK on what it received)
//
// Exit: 0 by SIGTERM or idle, 2 unknown mode, 3 no usable listener. Each start, refusal and handoff is a line
// in the file EXE.log, if that exists.

#define _GNU_SOURCE

#include "handoff.h"
#include "hash_test.h"
#include "probe.h"

#include <dirent.h>
#include <sys/un.h>

extern char **environ;

static char bound_paths[2][sizeof((struct sockaddr_un *)0)->sun_path + 1];

static void leave(int signal) {
	(void)signal;
	for (int i = 0; i < 2; i++)
		if (bound_paths[i][0] != '\0')
			unlink(bound_paths[i]);
	_exit(0);
}

// adopt takes over the listener of the broker: it must be a listening stream socket, else we end (section 8).
static int adopt(const char *text) {
	char *end;
	long fd = strtol(text, &end, 10);
	int type = 0, listening = 0;
	socklen_t size = sizeof type;
	if (*text < '0' || *text > '9' || *end != '\0' || fd > INT_MAX)
		FATAL("listener descriptor %s is no number", text);
	if (getsockopt((int)fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM)
		FATAL("descriptor %ld is not a stream socket", fd);
	if (getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || !listening)
		FATAL("descriptor %ld does not listen", fd);
	fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	return (int)fd;
}

static int listen_at(const char *path, char *remembered, bool replace) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (strlen(path) == 0 || strlen(path) >= sizeof address.sun_path)
		FATAL("cannot bind a path of %zu bytes", strlen(path));
	strcpy(address.sun_path, path);
	int failed = bind(fd, (struct sockaddr *)&address, sizeof address);
	if (failed && errno == EADDRINUSE && replace) {
		unlink(path);
		failed = bind(fd, (struct sockaddr *)&address, sizeof address);
	}
	if (failed || listen(fd, 128) != 0)
		FATAL("cannot listen at %s: %s", path, strerror(errno));
	strcpy(remembered, path);
	return fd;
}

static void put_line(struct bytes *out, const char *text) { put(out, text, strlen(text)), put(out, "\n", 1); }

static void put_fds(struct bytes *out) {
	DIR *folder = opendir("/proc/self/fd");
	char path[300], target[PATH_MAX], line[PATH_MAX + 300];
	for (struct dirent *e; folder != NULL && (e = readdir(folder)) != NULL;) {
		snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
		ssize_t n = readlink(path, target, sizeof target - 1);
		if (n < 0 || atoi(e->d_name) == dirfd(folder))
			continue;
		target[n] = '\0';
		snprintf(line, sizeof line, "%s %s", e->d_name, target);
		put_line(out, line);
	}
	if (folder != NULL)
		closedir(folder);
}

// answer_request answers one on the test lane; false ends the connection.
static bool answer_request(int fd, const struct frame *request, bool passed) {
	struct bytes out = {0};
	char text[64], line[1024];
	size_t size = request->payload.size < sizeof text - 1 ? request->payload.size : sizeof text - 1;
	memcpy(text, size > 0 ? (const char *)request->payload.data : "", size);
	text[size] = '\0';
	if (strcmp(text, "close") == 0)
		return false;
	if (strncmp(text, "exit ", 5) == 0)
		_exit(atoi(text + 5));
	if (strncmp(text, "sleep ", 6) == 0)
		sleep_ms(atol(text + 6));
	if (strncmp(text, "echo ", 5) == 0) {
		put(&out, request->payload.data + 5, request->payload.size - 5);
	} else if (strcmp(text, "env") == 0) {
		for (char **e = environ; *e != NULL; e++)
			put_line(&out, *e);
	} else if (strcmp(text, "fds") == 0) {
		put_fds(&out);
	} else {
		int n = snprintf(line, sizeof line, "pid=%ld version=%s service=%s via=%s listener=%s probes=%ld handoffs=%ld",
		                 (long)getpid(), env(ENV "SERVICE_VERSION"), env(ENV "SERVICE_NAME"),
		                 passed ? "handoff" : "direct", self.listener, (long)self.probes, (long)self.handoffs);
		if (self.helper > 0)
			n += snprintf(line + n, sizeof line - (size_t)n, " helper=%ld", (long)self.helper);
		put(&out, line, (size_t)n);
	}
	bool sent = answer(fd, request, RESPONSE, request->id, out);
	free(out.data);
	return sent;
}

static void *serve_connection(void *argument) {
	int mark = 1 << 30, fd = (int)(intptr_t)argument & ~mark;
	bool passed = ((intptr_t)argument & mark) != 0, going = true;
	struct bytes body = {0};
	struct frame frame;
	while (self.mode.deaf)
		pause();
	while (going && read_frame(fd, &body)) {
		if (!parse_frame((struct part){body.data, body.size}, &frame) || frame.version != 1 ||
		    frame.kind != REQUEST || frame.encoding != 0)
			break;
		if (frame.protocol == PROBE)
			going = answer_probe(fd, &frame);
		else if (frame.protocol == TEST_LANE)
			going = answer_request(fd, &frame, passed);
		else
			going = false; // a first-party frame, or a lane nobody serves (section 9)
	}
	free(body.data);
	close(fd);
	self.open--;
	return NULL;
}

// accept_forever starts a thread of task for each connection; the listener may be non-blocking.
static void accept_forever(int listener, void *(*task)(void *)) {
	for (;;) {
		sleep_ms(self.mode.slow_accept);
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0 && self.mode.hangup) {
			close(fd);
		} else if (fd >= 0) {
			self.open++;
			start_thread(task, fd);
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			wait_for(listener, POLLIN);
		} else if (errno != EINTR && errno != ECONNABORTED) {
			FATAL("cannot accept: %s", strerror(errno));
		}
	}
}

static void *handoff_listener(void *fd) {
	accept_forever((int)(intptr_t)fd, serve_handoffs);
	return NULL;
}

static void *crash_later(void *ms) {
	sleep_ms((long)(intptr_t)ms);
	crash();
	return NULL;
}

static void *leave_when_idle(void *ms) {
	for (long quiet = 0; quiet < (intptr_t)ms; quiet += 10) {
		sleep_ms(10);
		if (self.open > 0)
			quiet = 0;
	}
	note("idle");
	leave(0);
	return NULL;
}

// crash_at_start dies in the first wanted starts: the file EXE.starts has a byte for each.
static void crash_at_start(long wanted) {
	char path[PATH_MAX + 8];
	struct stat info;
	snprintf(path, sizeof path, "%s.starts", self.exe);
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "x", 1) != 1 || fstat(fd, &info) != 0)
		FATAL("cannot count starts in %s", path);
	close(fd);
	if (info.st_size <= wanted)
		crash();
}

static void read_mode(void) {
	const char *base = strrchr(self.exe, '/'), *text = getenv("TEST_BACKEND");
	if (text == NULL && base != NULL && strncmp(base, "/backend-", 9) == 0)
		text = base + 9;
	char *words = strdup(text == NULL ? "" : text);
	const char *unknown = parse_mode(words, &self.mode);
	if (unknown != NULL) {
		note("fatal: unknown mode %s", unknown);
		_exit(2);
	}
	free(words);
}

int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "selftest") == 0)
		return selftest();
	ssize_t n = readlink("/proc/self/exe", self.exe, sizeof self.exe - 1);
	if (n < 0)
		FATAL("no /proc/self/exe");
	self.started_ms = now_ms(CLOCK_REALTIME);
	read_mode();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, self.mode.noterm ? SIG_IGN : leave);
	struct mode *m = &self.mode;
	const char *fd_text = getenv("RUNNING_PROCESS_BROKER_LISTENER_FD");
	note("start listener_fd=%s pipe=%s", fd_text == NULL ? "-" : fd_text, env(ENV "BACKEND_PIPE"));
	if (m->crash_starts > 0)
		crash_at_start(m->crash_starts);
	if (m->crash == 0)
		crash();
	if (m->helper && (self.helper = fork()) == 0)
		for (;;)
			pause();
	if (m->crash > 0)
		start_thread(crash_later, m->crash);
	while (m->never)
		pause();

	bool adopts = fd_text != NULL && !m->bind && !m->strict;
	if (!adopts && m->adopt)
		FATAL("no listener descriptor");
	int listener = adopts ? adopt(fd_text) : -1; // at once: it is the slow loading that comes after it
	sleep_ms(m->late);
	if (!adopts)
		listener = listen_at(env(ENV "BACKEND_PIPE"), bound_paths[0], m->bind);
	self.listener = adopts ? "adopted" : "bound";
	if (*env(ENV "HANDOFF_PIPE") != '\0' && !m->nohandoff)
		start_thread(handoff_listener, listen_at(env(ENV "HANDOFF_PIPE"), bound_paths[1], true));
	know_thyself();
	if (m->idle >= 0)
		start_thread(leave_when_idle, m->idle);
	note("listening %s", self.listener);
	accept_forever(listener, serve_connection);
}
