/* Makes fsync and fdatasync slow, for a process that is started with
   LD_PRELOAD: each by SLOWDISK_MS milliseconds, and every
   SLOWDISK_STALL_EVERYth by SLOWDISK_STALL_MS. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static long setting(const char *name) {
	const char *v = getenv(name);
	return v ? atol(v) : 0;
}

static void slow(void) {
	static long n;
	long ms = setting("SLOWDISK_MS"), every = setting("SLOWDISK_STALL_EVERY");
	if (every > 0 && __sync_add_and_fetch(&n, 1) % every == 0) {
		ms = setting("SLOWDISK_STALL_MS");
		fprintf(stderr, "slowdisk: stalls for %ld ms\n", ms);
	}
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	while (nanosleep(&t, &t) != 0) {
	}
}

static int call(const char *name, int fd) {
	slow();
	return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}

int fsync(int fd) { return call("fsync", fd); }
int fdatasync(int fd) { return call("fdatasync", fd); }
