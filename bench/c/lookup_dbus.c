/* SPDX-License-Identifier: Apache-2.0 */
/* Closed-loop clients of a D-Bus bus: GetNameOwner, or a method call to a service.
 *
 *   lookup_dbus ADDRESS owner    NAME CLIENTS SECONDS [latencies]   GetNameOwner by sd-bus
 *   lookup_dbus ADDRESS owner-raw NAME CLIENTS SECONDS [latencies]  the same, raw system calls
 *   lookup_dbus ADDRESS call     NAME CLIENTS SECONDS [latencies]   a method of NAME, by sd-bus
 *   lookup_dbus ADDRESS serve    NAME                               owns NAME and answers; prints "ready"
 *
 * ADDRESS is unix:path=PATH. What it prints: loop.h.
 */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

static const char *address, *name;

#define CHECK(r, what) do { int r_ = (r); if (r_ < 0) { errno = -r_; loop_die(what); } } while (0)

static void *open_bus(void)
{
	sd_bus *b;
	CHECK(sd_bus_new(&b), "sd_bus_new");
	CHECK(sd_bus_set_address(b, address), "address");
	CHECK(sd_bus_set_bus_client(b, 1), "bus client");
	CHECK(sd_bus_start(b), "start");
	const char *unique;
	CHECK(sd_bus_get_unique_name(b, &unique), "Hello");
	return b;
}

static uint64_t step_owner(void *c)
{
	sd_bus_message *reply = NULL;
	const char *owner;
	CHECK(sd_bus_call_method(c, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
				 "GetNameOwner", NULL, &reply, "s", name), "GetNameOwner");
	CHECK(sd_bus_message_read(reply, "s", &owner), "GetNameOwner's reply");
	sd_bus_message_unref(reply);
	return 0;
}

static uint64_t step_call(void *c)
{
	sd_bus_message *reply = NULL;
	const char *text;
	CHECK(sd_bus_call_method(c, name, "/bench", "com.example.Bench", "Echo", NULL, &reply, "s", "x"), "Echo");
	CHECK(sd_bus_message_read(reply, "s", &text), "Echo's reply");
	sd_bus_message_unref(reply);
	return 0;
}

static int echo(sd_bus_message *m, void *data, sd_bus_error *error)
{
	(void)data, (void)error;
	const char *text;
	int r = sd_bus_message_read(m, "s", &text);
	return r < 0 ? r : sd_bus_reply_method_return(m, "s", text);
}

static const sd_bus_vtable methods[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Echo", "s", "s", echo, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static int serve(void)
{
	sd_bus *b = open_bus();
	CHECK(sd_bus_add_object_vtable(b, NULL, "/bench", "com.example.Bench", methods, NULL), "object");
	CHECK(sd_bus_request_name(b, name, 0), "RequestName");
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		int r = sd_bus_process(b, NULL);
		CHECK(r, "process");
		if (r == 0)
			CHECK(sd_bus_wait(b, UINT64_MAX), "wait");
	}
}

/* The raw client: one message, built once, sent again and again with a new serial. */
struct raw {
	int fd;
	uint32_t serial;
	size_t size;
	unsigned char message[512];
};

static size_t put_string(unsigned char *at, size_t n, const char *s)
{
	uint32_t len = (uint32_t)strlen(s);
	memcpy(at + n, &len, 4);
	memcpy(at + n + 4, s, len + 1);
	return n + 4 + len + 1;
}

static size_t pad(unsigned char *at, size_t n, size_t to)
{
	while (n % to)
		at[n++] = 0;
	return n;
}

static size_t put_field(unsigned char *at, size_t n, unsigned char code, char type, const char *s)
{
	n = pad(at, n, 8);
	at[n++] = code;
	at[n++] = 1;
	at[n++] = (unsigned char)type;
	at[n++] = 0;
	if (type == 'g') {
		size_t len = strlen(s);
		at[n++] = (unsigned char)len;
		memcpy(at + n, s, len + 1);
		return n + len + 1;
	}
	return put_string(at, n, s);
}

/* Builds a call of a method of the bus itself; argument may be NULL. */
static size_t build(unsigned char *m, const char *method, const char *argument)
{
	memset(m, 0, 16);
	m[0] = 'l';
	m[1] = 1;
	m[3] = 1;
	size_t n = 16;
	n = put_field(m, n, 1, 'o', "/org/freedesktop/DBus");
	n = put_field(m, n, 2, 's', "org.freedesktop.DBus");
	n = put_field(m, n, 3, 's', method);
	n = put_field(m, n, 6, 's', "org.freedesktop.DBus");
	if (argument)
		n = put_field(m, n, 8, 'g', "s");
	uint32_t fields = (uint32_t)n - 16;
	memcpy(m + 12, &fields, 4);
	n = pad(m, n, 8);
	size_t body = n;
	if (argument)
		n = put_string(m, n, argument);
	uint32_t len = (uint32_t)(n - body);
	memcpy(m + 4, &len, 4);
	return n;
}

/* Sends the message and reads until its answer is there; signals are passed over. */
static void exchange(struct raw *c)
{
	unsigned char in[4096];
	size_t have = 0;
	c->serial++;
	memcpy(c->message + 8, &c->serial, 4);
	if (send(c->fd, c->message, c->size, MSG_NOSIGNAL) != (ssize_t)c->size)
		loop_die("send");
	for (;;) {
		ssize_t r = recv(c->fd, in + have, sizeof in - have, 0);
		if (r <= 0)
			loop_die("recv");
		have += (size_t)r;
		while (have >= 16) {
			uint32_t body, fields;
			memcpy(&body, in + 4, 4);
			memcpy(&fields, in + 12, 4);
			size_t all = 16 + ((fields + 7) & ~7u) + body;
			if (all > sizeof in)
				loop_die("a message of %zu bytes", all);
			if (have < all)
				break;
			int type = in[1];
			memmove(in, in + all, have - all);
			have -= all;
			if (type == 2)
				return;
			if (type == 3)
				loop_die("the bus answered with an error");
		}
	}
}

static void *open_raw(void)
{
	struct raw *c = calloc(1, sizeof *c);
	if (!c || strncmp(address, "unix:path=", 10) != 0)
		loop_die("cannot use address %s", address);
	c->fd = loop_unix(address + 10, SOCK_STREAM);
	if (c->fd < 0)
		loop_die("connect %s", address);
	char uid[16], line[128] = "\0AUTH EXTERNAL ";
	size_t n = 1 + strlen(line + 1);
	snprintf(uid, sizeof uid, "%u", getuid());
	for (char *p = uid; *p; p++)
		n += (size_t)sprintf(line + n, "%02x", *p);
	n += (size_t)sprintf(line + n, "\r\n");
	if (send(c->fd, line, n, MSG_NOSIGNAL) != (ssize_t)n)
		loop_die("AUTH");
	ssize_t r = recv(c->fd, line, sizeof line - 1, 0);
	if (r < 3 || strncmp(line, "OK ", 3) != 0)
		loop_die("AUTH was not answered with OK");
	if (send(c->fd, "BEGIN\r\n", 7, MSG_NOSIGNAL) != 7)
		loop_die("BEGIN");
	c->size = build(c->message, "Hello", NULL);
	exchange(c);
	c->size = build(c->message, "GetNameOwner", name);
	return c;
}

static uint64_t step_raw(void *c)
{
	exchange(c);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: %s ADDRESS owner|owner-raw|call|serve NAME [CLIENTS SECONDS [latencies]]\n", argv[0]);
		return 64;
	}
	address = argv[1];
	name = argv[3];
	if (!strcmp(argv[2], "serve"))
		return serve();
	struct loop l = {.open = open_bus};
	if (!strcmp(argv[2], "owner"))
		l.step = step_owner;
	else if (!strcmp(argv[2], "call"))
		l.step = step_call;
	else if (!strcmp(argv[2], "owner-raw"))
		l.open = open_raw, l.step = step_raw;
	else
		return 64;
	l.clients = argc > 4 ? atoi(argv[4]) : 1;
	l.seconds = argc > 5 ? atof(argv[5]) : 1;
	l.latencies = argc > 6;
	return loop_run(&l);
}
