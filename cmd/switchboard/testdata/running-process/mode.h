// SPDX-License-Identifier: Apache-2.0
// How the test backend behaves: words from TEST_BACKEND, or from its file's name after "backend-".
//
// A broker passes neither arguments nor its environment on, so a copy named backend-late-500-wrong-pid
// is a backend that is 500 ms late and lies about its pid. Words are split at "-", ":" and ",".

#ifndef MODE_H
#define MODE_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// Times are milliseconds; -1 is never.
struct mode {
	bool adopt, bind, strict, never, deaf, hangup, plain, noterm, helper, nohandoff;
	long late, crash, crash_starts, crash_probes, slow_accept, idle, handoff_late;
	char wrong[16], handoff[16];
};

static const char *const wrong_words[] = {"pid",       "hash",      "nonce", "id",   "kind",    "path",  "boot",
                                          "endpoint",  "namespace", "algorithm", "size", "missing", "short", NULL};
static const char *const handoff_words[] = {"refuse", "silent", "close", "token", "id",
                                            "kind",   "crash",  "drop",  "blocking", NULL};

static bool one_of(const char *word, const char *const *words) {
	for (; word != NULL && *words != NULL; words++)
		if (strcmp(word, *words) == 0)
			return true;
	return false;
}

// take_number takes a number after the current word, or gives otherwise.
static long take_number(char **rest, long otherwise) {
	char *start = *rest, *end;
	if (start == NULL || *start < '0' || *start > '9')
		return otherwise;
	long value = strtol(start, &end, 10);
	if (*end != '\0')
		end++;
	*rest = end;
	return value;
}

static char *take_word(char **rest) {
	char *word = *rest;
	if (word == NULL || *word == '\0')
		return NULL;
	size_t size = strcspn(word, "-:,");
	*rest = word + size + (word[size] != '\0');
	word[size] = '\0';
	return word;
}

// parse_mode reads text, which it changes; the word it does not know, or NULL.
static const char *parse_mode(char *text, struct mode *m) {
	*m = (struct mode){.crash = -1, .crash_probes = -1, .idle = -1};
	char *rest = text, *word;
	while ((word = take_word(&rest)) != NULL) {
		struct {
			const char *name;
			bool *flag;
			long *number;
		} plain[] = {
			{"adopt", &m->adopt, 0}, {"bind", &m->bind, 0},     {"strict", &m->strict, 0},   {"never", &m->never, 0},
			{"deaf", &m->deaf, 0},   {"hangup", &m->hangup, 0}, {"plain", &m->plain, 0},     {"noterm", &m->noterm, 0},
			{"late", 0, &m->late},   {"idle", 0, &m->idle},     {"nohandoff", &m->nohandoff, 0}, {"helper", &m->helper, 0},
		};
		size_t i, count = sizeof plain / sizeof plain[0];
		for (i = 0; i < count && strcmp(word, plain[i].name) != 0; i++)
			;
		if (i < count && plain[i].flag != NULL) {
			*plain[i].flag = true;
		} else if (i < count) {
			*plain[i].number = take_number(&rest, 1000);
		} else if (strcmp(word, "crash") == 0) {
			long *where = &m->crash;
			if (strncmp(rest, "starts", 6) == 0)
				take_word(&rest), where = &m->crash_starts;
			else if (strncmp(rest, "probes", 6) == 0)
				take_word(&rest), where = &m->crash_probes;
			*where = take_number(&rest, where == &m->crash ? 0 : 1);
		} else if (strcmp(word, "slow") == 0) {
			if (strncmp(rest, "accept", 6) == 0)
				take_word(&rest);
			m->slow_accept = take_number(&rest, 1000);
		} else if (strcmp(word, "wrong") == 0) {
			char *what = take_word(&rest);
			if (!one_of(what, wrong_words))
				return what == NULL ? word : what;
			strcpy(m->wrong, what);
		} else if (strcmp(word, "handoff") == 0) {
			char *what = take_word(&rest);
			if (what != NULL && strcmp(what, "late") == 0)
				m->handoff_late = take_number(&rest, 1000);
			else if (one_of(what, handoff_words))
				strcpy(m->handoff, what);
			else
				return what == NULL ? word : what;
		} else {
			return word;
		}
	}
	return NULL;
}

#endif
