/* SPDX-License-Identifier: Apache-2.0 */
/* Frames through GStreamer's shmsink and shmsrc, with nothing else in their pipelines: our own pad pushes buffers into the sink, and another
 * takes them from the source and lets go of them.
 *
 *   shmsink placed FOLDER SIZE READERS   buffers are the sink's own shared memory (its allocator, in a pool of 4), in which nobody writes
 *   shmsink copied FOLDER SIZE READERS   buffers are ordinary memory, which the sink copies into its own
 *   shmsink echo   FOLDER SIZE 1         as placed, and the reader answers each with 64 bytes through a sink of its own
 *
 * The first line of the output has the ids of all processes. Then each line of the input, SECONDS and how many frames a second (0: as many as
 * there can be), is answered by
 *
 *   {"frames":301,"rate":300.1,"median_ns":…}
 *
 * of which the last, for echo, is half of a round trip; 20 of these are timed at once. An area has room for 4 frames, and a sink waits for room:
 * that every reader got every frame is checked each time.
 */
#define _GNU_SOURCE
#include "loop.h"

#include <gst/gst.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 4, ANSWER = 64, BATCH = 20, MOST = 64, SAMPLES = 1 << 16 };

/* What the processes share. */
static struct shared {
	atomic_int listens, begun;
	struct {
		_Alignas(64) atomic_ulong got;
	} reader[MOST];
} *s;

/* One end of a shmsink, with a pad that pushes into it. */
struct out {
	GstElement *sink;
	GstPad *pad;
	GstBufferPool *pool; /* NULL: the sink copies */
	GstAllocator *allocator;
	size_t size;
	void *pixels; /* what is copied */
	atomic_int clients;
};

static const char *folder;
static int echoes;
static int self; /* number of a reader */
static struct out back;

static void fail(const char *what)
{
	fprintf(stderr, "shmsink: %s\n", what);
	exit(1);
}

static void await(atomic_int *word, int least)
{
	while (atomic_load(word) < least)
		usleep(200);
}

static void connected(GstElement *sink, int fd, gpointer clients)
{
	(void)sink, (void)fd;
	atomic_fetch_add((atomic_int *)clients, 1);
}

static void out_open(struct out *o, const char *name, size_t size, int placed)
{
	char *path = g_build_filename(folder, name, NULL);
	o->size = size;
	o->sink = gst_element_factory_make("shmsink", NULL);
	if (!o->sink)
		fail("there is no element shmsink: Debian's package gstreamer1.0-plugins-bad has it");
	g_object_set(o->sink, "socket-path", path, "shm-size", (guint)(SLOTS * (size + 4096)), "sync", FALSE, "wait-for-connection", TRUE,
		     "enable-last-sample", FALSE, NULL);
	g_signal_connect(o->sink, "client-connected", G_CALLBACK(connected), &o->clients);
	o->pad = gst_pad_new("out", GST_PAD_SRC);
	GstPad *in = gst_element_get_static_pad(o->sink, "sink");
	gst_pad_set_active(o->pad, TRUE);
	if (gst_pad_link(o->pad, in) != GST_PAD_LINK_OK || gst_element_set_state(o->sink, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE)
		fail("cannot start a shmsink");
	GstCaps *caps = gst_caps_new_empty_simple("application/octet-stream");
	GstSegment segment;
	gst_segment_init(&segment, GST_FORMAT_BYTES);
	gst_pad_push_event(o->pad, gst_event_new_stream_start(name));
	gst_pad_push_event(o->pad, gst_event_new_caps(caps));
	gst_pad_push_event(o->pad, gst_event_new_segment(&segment));
	g_free(path);
	if (!placed) {
		o->pixels = malloc(size);
		memset(o->pixels, 1, size);
		return;
	}
	GstQuery *q = gst_query_new_allocation(caps, TRUE);
	if (!gst_pad_peer_query(o->pad, q) || gst_query_get_n_allocation_params(q) == 0)
		fail("shmsink proposes no allocator");
	gst_query_parse_nth_allocation_param(q, 0, &o->allocator, NULL);
	gst_query_unref(q);
	o->pool = gst_buffer_pool_new();
	GstStructure *config = gst_buffer_pool_get_config(o->pool);
	gst_buffer_pool_config_set_params(config, caps, size, SLOTS, SLOTS);
	gst_buffer_pool_config_set_allocator(config, o->allocator, NULL);
	if (!gst_buffer_pool_set_config(o->pool, config) || !gst_buffer_pool_set_active(o->pool, TRUE))
		fail("cannot make a pool of the shmsink's memory");
}

static void push(struct out *o)
{
	GstBuffer *b = NULL;
	if (!o->pool)
		b = gst_buffer_new_wrapped_full(GST_MEMORY_FLAG_READONLY, o->pixels, o->size, 0, o->size, NULL, NULL);
	else if (gst_buffer_pool_acquire_buffer(o->pool, &b, NULL) != GST_FLOW_OK || gst_buffer_peek_memory(b, 0)->allocator != o->allocator)
		fail("a buffer is not the shmsink's memory");
	if (gst_pad_push(o->pad, b) != GST_FLOW_OK)
		fail("shmsink takes no buffer");
}

/* Ends a sink. What is not given back first, it leaves in /dev/shm. */
static void out_close(struct out *o)
{
	gst_pad_set_active(o->pad, FALSE);
	if (o->pool) {
		gst_buffer_pool_set_active(o->pool, FALSE);
		gst_object_unref(o->pool);
	}
	gst_element_set_state(o->sink, GST_STATE_NULL);
}

static GstFlowReturn got(GstPad *pad, GstObject *parent, GstBuffer *b)
{
	(void)pad, (void)parent;
	gst_buffer_unref(b);
	if (echoes)
		push(&back);
	atomic_fetch_add(&s->reader[self].got, 1);
	return GST_FLOW_OK;
}

/* What the writer of echo waits for. */
static int answered;
static GMutex lock;
static GCond change;

static GstFlowReturn got_answer(GstPad *pad, GstObject *parent, GstBuffer *b)
{
	(void)pad, (void)parent;
	gst_buffer_unref(b);
	g_mutex_lock(&lock);
	answered++;
	g_cond_signal(&change);
	g_mutex_unlock(&lock);
	return GST_FLOW_OK;
}

static GstElement *in_open(const char *name, GstPadChainFunction chain)
{
	char *path = g_build_filename(folder, name, NULL);
	GstElement *src = gst_element_factory_make("shmsrc", NULL);
	if (!src)
		fail("there is no element shmsrc: Debian's package gstreamer1.0-plugins-bad has it");
	g_object_set(src, "socket-path", path, NULL);
	GstPad *pad = gst_pad_new("in", GST_PAD_SINK);
	gst_pad_set_chain_function(pad, chain);
	gst_pad_set_active(pad, TRUE);
	GstPad *from = gst_element_get_static_pad(src, "src");
	if (gst_pad_link(from, pad) != GST_PAD_LINK_OK || gst_element_set_state(src, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE)
		fail("cannot start a shmsrc");
	g_free(path);
	return src;
}

static void reader(int number, int until)
{
	char end;
	self = number;
	await(&s->listens, 1);
	gst_init(NULL, NULL);
	if (echoes)
		out_open(&back, "back", ANSWER, 1);
	GstElement *src = in_open("there", got);
	atomic_fetch_add(&s->begun, 1);
	while (read(until, &end, 1) > 0)
		;
	gst_element_set_state(src, GST_STATE_NULL);
	if (echoes)
		out_close(&back);
	exit(0);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void trip(struct out *o)
{
	static int n;
	push(o);
	n++;
	g_mutex_lock(&lock);
	while (answered < n)
		g_cond_wait(&change, &lock);
	g_mutex_unlock(&lock);
}

static void run(struct out *o, int readers, double seconds, double rate)
{
	static uint64_t took[SAMPLES];
	static unsigned long all;
	unsigned long n = 0;
	int samples = 0;
	uint64_t start = loop_now(), now;
	for (; (now = loop_now()) - start < seconds * 1e9;) {
		if (echoes) {
			for (int i = 0; i < BATCH; i++, n++)
				trip(o);
			if (samples < SAMPLES)
				took[samples++] = (loop_now() - now) / (2 * BATCH);
			continue;
		}
		push(o);
		n++;
		if (rate > 0) {
			uint64_t at = start + (uint64_t)((double)n * 1e9 / rate);
			struct timespec t = {.tv_sec = (time_t)(at / 1000000000u), .tv_nsec = (long)(at % 1000000000u)};
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
		}
	}
	double lasted = (double)(loop_now() - start) / 1e9;
	all += n;
	for (int i = 0; i < readers; i++) {
		uint64_t late = loop_now() + 10000000000u;
		while (atomic_load(&s->reader[i].got) < all && loop_now() < late)
			usleep(200);
		if (atomic_load(&s->reader[i].got) != all)
			fail("a reader did not get every frame");
	}
	qsort(took, (size_t)samples, sizeof *took, by_value);
	printf("{\"frames\":%lu,\"rate\":%.1f,\"median_ns\":%llu}\n", n, (double)n / lasted,
	       (unsigned long long)(samples ? took[samples / 2] : 0));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct out there;
	char line[128];
	double seconds, rate;
	int until[2], readers;
	if (argc != 5 || (readers = atoi(argv[4])) < 1 || readers > MOST) {
		fprintf(stderr, "usage: %s placed|copied|echo FOLDER SIZE READERS\n", argv[0]);
		return 64;
	}
	echoes = !strcmp(argv[1], "echo");
	folder = argv[2];
	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED || pipe(until) < 0)
		loop_die("mmap or pipe");
	pid_t pids[MOST];
	for (int i = 0; i < readers; i++) {
		if ((pids[i] = fork()) < 0)
			loop_die("fork");
		if (pids[i] == 0) {
			close(until[1]); /* so that a reader ends with the writer */
			reader(i, until[0]);
		}
	}
	gst_init(NULL, NULL);
	out_open(&there, "there", (size_t)atol(argv[3]), strcmp(argv[1], "copied"));
	atomic_store(&s->listens, 1);
	await(&s->begun, readers);
	await(&there.clients, readers);
	GstElement *src = echoes ? in_open("back", got_answer) : NULL;
	printf("%d", getpid());
	for (int i = 0; i < readers; i++)
		printf(" %d", pids[i]);
	printf("\n");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin) && sscanf(line, "%lf %lf", &seconds, &rate) == 2)
		run(&there, readers, seconds, rate);
	close(until[1]);
	while (wait(NULL) > 0)
		;
	if (src)
		gst_element_set_state(src, GST_STATE_NULL);
	out_close(&there);
	return 0;
}
