// SPDX-License-Identifier: GPL-2.0
/*
 * FUSE DAX file maps: random operations by processes and threads on one file,
 * compared with a flat model in shared memory.
 *
 * Parts of the file are divided into cells with arbitrary boundaries. Each cell
 * belongs to one worker. Only the owner writes to a cell and to its place in
 * the model, so no locks are needed, although other workers write to the same
 * page. After each phase all workers stop and read all cells. At the end of a
 * round the test compares the devices with the model. Then it starts another
 * round with a new layout.
 *
 * The seed determines the operations of each worker. It is printed at the start
 * and with a failed operation. FMAP_RANDOM_SEED repeats the round with that
 * seed. FMAP_RANDOM_SECONDS is the run time, 10 by default.
 *
 * Needs root, /dev/fuse and DAX devices bound to the fsdev driver
 * (CONFIG_DEV_DAX_FSDEV) of at least 64 MiB, which are overwritten.
 */
#include <pthread.h>
#include <stdarg.h>
#include <sys/prctl.h>

#include "fmap_data.h"
#include "fmap_random.h"
#include "fmap_test.h"

#define PROCESSES	3
#define THREADS		2
#define WORKERS		(PROCESSES * THREADS)
#define PHASES		3	/* of a round; each ends with a full read */
#define ROUNDS		4	/* in the run time */
#define SPANS		12	/* parts of a large file to use */
#define SMALL		(256 * KB)	/* files up to this are used whole */
#define MAX_CELLS	4096
#define MAX_CELL	(24 * KB)
#define AROUND		3000	/* bytes around a cell to read as well */
#define MAX_READ	(MAX_CELL + 2 * AROUND)

struct span {
	uint64_t pos;
	uint64_t len;
};

struct cell {
	uint64_t pos;
	uint32_t len;
	uint32_t owner;
};

/* Shared by all processes */
struct round {
	uint64_t seed;
	uint64_t phase_ns;
	uint64_t size;
	char path[PATH_MAX];
	bool stop;
	uint32_t arrived;	/* sum over all barriers */
	struct span span[SPANS];
	int nspans;
	struct cell cell[MAX_CELLS];
	int ncells;
	struct {
		uint64_t nops;
		char doing[160];
		char failed[160];	/* empty: no failure */
	} worker[WORKERS];
};

/* Private to a worker */
struct worker {
	struct round *r;
	char *model;
	int number;
	int own[MAX_CELLS];
	int nowned;
	struct access a;
	char b[MAX_READ];
};

/* Each stream gets its own sequence; the state must not be 0 */
static void seed_random(uint64_t seed, uint64_t stream)
{
	random_state = (seed * 64 + stream + 1) * 0x9e3779b97f4a7c15ULL | 1;
	for (int i = 0; i < 8; i++)
		random_below(2);
}

__attribute__((format(printf, 2, 3)))
static void doing(struct worker *w, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(w->r->worker[w->number].doing,
		  sizeof(w->r->worker[0].doing), format, args);
	va_end(args);
}

__attribute__((format(printf, 2, 3)))
static void fail(struct worker *w, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(w->r->worker[w->number].failed,
		  sizeof(w->r->worker[0].failed), format, args);
	va_end(args);
	__atomic_store_n(&w->r->stop, true, __ATOMIC_RELEASE);
}

static bool stopped(struct worker *w)
{
	return __atomic_load_n(&w->r->stop, __ATOMIC_ACQUIRE);
}

/* Report an error; returns @ret */
static int report(struct worker *w, int ret)
{
	if (ret)
		fail(w, "%s", strerror(ret < 0 ? -ret : ret));
	return ret;
}

static int err(int ret)
{
	return ret < 0 ? errno : 0;
}

static void reopen(struct worker *w)
{
	close(w->a.fd);
	w->a.fd = open(w->r->path, O_RDWR | O_CLOEXEC);
	report(w, err(w->a.fd));
}

static void remap(struct worker *w, bool huge)
{
	if (w->a.map)
		munmap(w->a.map, w->r->size);
	w->a.map = huge ?
		   map_huge(w->a.fd, w->r->size, PROT_READ | PROT_WRITE,
			    MAP_SHARED, 0) :
		   mmap(NULL, w->r->size, PROT_READ | PROT_WRITE, MAP_SHARED,
			w->a.fd, 0);
	report(w, w->a.map == MAP_FAILED ? errno : 0);
}

static void move_mapping(struct worker *w)
{
	size_t len = w->r->size;
	char *to = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			MAP_NORESERVE, -1, 0);

	if (to != MAP_FAILED)
		to = mremap(w->a.map, len, len, MREMAP_MAYMOVE | MREMAP_FIXED,
			    to);
	if (report(w, to == MAP_FAILED ? errno : 0))
		return;
	w->a.map = to;
}

/* An operation that must not change data */
static void keep_data(struct worker *w, uint64_t pos, size_t len)
{
	static const struct {
		const char *name;
		int advice;
	} advice[] = {
		{ "MADV_DONTNEED", MADV_DONTNEED },
		{ "MADV_WILLNEED", MADV_WILLNEED },
		{ "MADV_NOHUGEPAGE", MADV_NOHUGEPAGE },
		{ "MADV_HUGEPAGE", MADV_HUGEPAGE },
		{ "MADV_RANDOM", MADV_RANDOM },
		{ "MADV_POPULATE_READ", MADV_POPULATE_READ },
		{ "MADV_POPULATE_WRITE", MADV_POPULATE_WRITE },
	};
	uint64_t from = pos & ~(PG - 1);
	unsigned int what = random_below(9), n = random_below(ARRAY_SIZE(advice));
	char *p = w->a.map + from;

	len += pos - from;
	switch (what) {
	case 0:
		doing(w, "fsync");
		report(w, err(fsync(w->a.fd)));
		break;
	case 1:
		doing(w, "fdatasync");
		report(w, err(fdatasync(w->a.fd)));
		break;
	case 2:
		doing(w, "msync of %zu bytes at %lu", len, from);
		report(w, err(msync(p, len, MS_SYNC)));
		break;
	case 3:
		doing(w, "close and open");
		reopen(w);
		break;
	case 4:
		doing(w, "munmap and mmap");
		remap(w, pos % 2);
		break;
	case 5:
		doing(w, "mremap");
		move_mapping(w);
		break;
	case 6:
		doing(w, "mprotect of %zu bytes at %lu, and back", len, from);
		if (!report(w, err(mprotect(p, len, PROT_READ))))
			report(w, err(mprotect(p, len,
					       PROT_READ | PROT_WRITE)));
		break;
	default:
		doing(w, "%s of %zu bytes at %lu", advice[n].name, len, from);
		report(w, err(madvise(p, len, advice[n].advice)));
	}
}

static void one_operation(struct worker *w)
{
	const struct cell *c = &w->r->cell[w->own[random_below(w->nowned)]];
	uint64_t at = random_below(c->len), pos = c->pos + at;
	size_t len = 1 + random_below(c->len - at), correct;
	unsigned int what = random_below(100);

	if (what < 45) {
		const struct way *in = &ways_in[random_below(ARRAY_SIZE(ways_in))];

		pattern(w->b, random_below(1 << 20), pos, len);
		doing(w, "%s of %zu bytes at %lu", in->name, len, pos);
		if (!report(w, in->move(&w->a, w->b, pos, len)))
			memcpy(w->model + pos, w->b, len);
	} else if (what < 90) {
		const struct way *out =
			&ways_out[random_below(ARRAY_SIZE(ways_out))];
		uint64_t from = pos, to = pos + len + random_below(AROUND);

		at = random_below(AROUND);
		from -= at < pos ? at : pos;
		if (to > w->r->size)
			to = w->r->size;
		doing(w, "%s of %lu bytes at %lu, its own are %zu at %lu",
		      out->name, to - from, from, len, pos);
		memset(w->b, 0, to - from);
		if (report(w, out->move(&w->a, w->b, from, to - from)))
			return;
		correct = same(w->b + (pos - from), w->model + pos, len);
		if (correct != len)
			fail(w, "byte %lu is wrong", pos + correct);
	} else {
		keep_data(w, pos, len);
	}
}

static void read_all(struct worker *w, int phase)
{
	for (int i = 0; i < w->r->nspans; i++) {
		const struct span *s = &w->r->span[i];
		const struct way *out =
			&ways_out[(i + w->number + phase) % ARRAY_SIZE(ways_out)];

		for (uint64_t at = 0; at < s->len && !stopped(w);
		     at += MAX_READ) {
			uint64_t pos = s->pos + at;
			size_t len = s->len - at, correct;

			if (len > MAX_READ)
				len = MAX_READ;
			doing(w, "%s of %zu bytes at %lu, without writers",
			      out->name, len, pos);
			memset(w->b, 0, len);
			if (report(w, out->move(&w->a, w->b, pos, len)))
				return;
			correct = same(w->b, w->model + pos, len);
			if (correct != len)
				fail(w, "byte %lu is wrong", pos + correct);
		}
	}
}

/* Barrier: wait until all workers arrive for the @nth time */
static void wait_for_all(struct worker *w, uint32_t nth)
{
	__atomic_add_fetch(&w->r->arrived, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&w->r->arrived, __ATOMIC_ACQUIRE) <
	       nth * WORKERS && !stopped(w))
		usleep(500);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct round *r = w->r;

	for (int i = 0; i < r->ncells; i++)
		if (r->cell[i].owner == w->number)
			w->own[w->nowned++] = i;
	doing(w, "open and mmap");
	w->a.fd = open(r->path, O_RDWR | O_CLOEXEC);
	if (report(w, err(w->a.fd)) || report(w, access_begin(&w->a)))
		return NULL;
	remap(w, w->number % 2);

	for (int phase = 0; phase < PHASES; phase++) {
		uint64_t begin;

		wait_for_all(w, 2 * phase + 1);
		seed_random(r->seed, 1 + phase * WORKERS + w->number);
		begin = now();
		do {
			if (stopped(w))
				return NULL;
			one_operation(w);
			r->worker[w->number].nops++;
		} while (now() - begin < r->phase_ns);
		wait_for_all(w, 2 * phase + 2);
		if (!stopped(w))
			read_all(w, phase);
	}
	if (stopped(w))
		return NULL;
	munmap(w->a.map, r->size);
	close(w->a.fd);
	access_end(&w->a);
	return NULL;
}

static void process(struct round *r, char *model, int number)
{
	struct worker *w = calloc(THREADS, sizeof(*w));
	pthread_t thread[THREADS];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < THREADS; i++) {
		w[i].r = r;
		w[i].model = model;
		w[i].number = number * THREADS + i;
		if (pthread_create(&thread[i], NULL, work, &w[i]))
			_exit(1);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	_exit(0);
}

static void build_layout(struct rs_map *m, struct room *room)
{
	static const uint32_t chunks[] = {
		4 * KB, 4 * KB, 12 * KB, 64 * KB, 2 * MB, 3 * MB + 4 * KB,
	};
	static const uint32_t strips[] = { 1, 1, 2, 3, 4, 5, 8, 16 };
	uint64_t size = 0;

	room->shift = random_below(2) ? 0 : random_below(512) * PG;
	if (random_below(3) == 0) {
		rs_map_init(m, FUSE_FMAP_EXTENTS, 0);
		for (int n = 1 + random_below(40); n > 0; n--) {
			uint64_t len = (1 + random_below(40)) * PG;

			if (random_below(6) == 0)
				len = (1 + random_below(2)) * 2 * MB;
			place_extent(m, room, len);
			size += len;
		}
	} else {
		rs_map_init(m, FUSE_FMAP_STRIPED, 0);
		for (int n = 1 + random_below(4); n > 0; n--) {
			uint32_t chunk = chunks[random_below(ARRAY_SIZE(chunks))];
			uint32_t nstrips = strips[random_below(ARRAY_SIZE(strips))];
			uint64_t len = (1 + random_below(3 * nstrips)) * chunk;

			len += random_below(chunk / PG) * PG;
			place_set(m, room, nstrips, chunk, len);
			size += len;
		}
	}
	rs_map_header(m)->file_size = size - random_below(PG);
}

/* Choose the parts to use; most contain a seam, if the file has seams there */
static void choose_spans(struct round *r, const unsigned char *map)
{
	uint64_t slot = r->size / SPANS;

	if (r->size <= SMALL) {
		r->span[0] = (struct span){ 0, r->size };
		r->nspans = 1;
		return;
	}
	for (int i = 0; i < SPANS; i++) {
		uint64_t from = i * slot, to = i < SPANS - 1 ? from + slot :
							     r->size;
		uint64_t at = from + random_below(to - from), seam = 0;
		uint64_t before = random_below(20 * KB);
		uint64_t after = 1 + random_below(20 * KB);

		for (uint64_t p = (from + PG - 1) & ~(PG - 1);
		     p < to && !(seam && p > at); p += PG)
			if (is_seam(map, p))
				seam = p;
		if (seam && random_below(4))
			at = seam;
		if (i == SPANS - 1 && random_below(2))
			at = to;
		r->span[i].pos = at - from > before ? at - before : from;
		r->span[i].len = (to - at > after ? at + after : to) -
				 r->span[i].pos;
	}
	r->nspans = SPANS;
}

static void divide_spans(struct round *r)
{
	static const uint32_t longest[] = { 3, 16, 700, 5000, MAX_CELL };

	for (int i = 0; i < r->nspans; i++) {
		uint64_t pos = r->span[i].pos, left = r->span[i].len;

		while (left && r->ncells < MAX_CELLS) {
			uint64_t most = longest[random_below(ARRAY_SIZE(longest))];
			struct cell *c = &r->cell[r->ncells];

			/* leave a cell for each worker even in a small file */
			if (r->ncells < WORKERS && most > r->size / WORKERS)
				most = r->size / WORKERS;
			c->pos = pos;
			c->len = 1 + random_below(most);
			if (c->len > left)
				c->len = left;
			/* each worker gets at least one */
			c->owner = r->ncells++ < WORKERS ? r->ncells - 1 :
				   random_below(WORKERS);
			pos += c->len;
			left -= c->len;
		}
	}
}

FIXTURE(random) {
	struct raw_server *s;
	struct round *r;
	int rounds;
};

FIXTURE_SETUP(random)
{
	const char *why;

	max_dax = 8;	/* to include each kind of memory */
	why = sandbox(1);
	if (why)
		SKIP(return, "%s", why);
	self->r = mmap(NULL, sizeof(*self->r), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->r);
}

FIXTURE_TEARDOWN(random)
{
	rs_free(self->s);
}

static void one_round(struct __test_metadata *_metadata,
		      FIXTURE_DATA(random) *self, uint64_t seed,
		      uint64_t phase_ns)
{
	struct round *r = self->r;
	int fd, status, view[MAX_DAX];
	unsigned char *map;
	pid_t pid[PROCESSES];
	struct rs_map m;
	char *model;

	memset(r, 0, sizeof(*r));
	r->seed = seed;
	r->phase_ns = phase_ns;
	seed_random(seed, 0);
	for (;;) {
		struct room room = {};

		build_layout(&m, &room);
		/* each worker needs a cell */
		if (!room.full && rs_map_header(&m)->file_size > MAX_CELL)
			break;
		rs_map_free(&m);
	}
	r->size = rs_map_header(&m)->file_size;
	map = malloc(m.len);
	memcpy(map, m.b, m.len);
	choose_spans(r, map);
	divide_spans(r);
	ASSERT_LE(WORKERS, r->ncells);

	self->s = new_server(ndax);
	ASSERT_NE(NULL, self->s);
	rs_set_map(self->s, rs_add_file(self->s, FUSE_ROOT_ID, "f"), &m);
	ASSERT_EQ(0, start_server(self->s));
	snprintf(r->path, sizeof(r->path), "%s/f", self->s->mnt);
	model = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED |
		     MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, model);
	fd = open_in(self->s, "f", O_RDWR);
	ASSERT_LE(0, fd);
	for (int i = 0; i < r->nspans; i++) {
		pattern(model + r->span[i].pos, seed, r->span[i].pos,
			r->span[i].len);
		ASSERT_TRUE(put(fd, seed, r->span[i].pos, r->span[i].len));
	}
	close(fd);

	fflush(NULL);
	for (int i = 0; i < PROCESSES; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i])
			process(r, model, i);
	}
	for (int i = 0; i < PROCESSES; i++) {
		/* reap in any order: the others wait for a dead worker */
		pid_t gone = wait(&status);

		EXPECT_EQ(0, status) {
			r->stop = true;
			for (int w = 0; w < WORKERS; w++)
				if (gone == pid[w / THREADS])
					TH_LOG("FMAP_RANDOM_SEED=%lu, worker %d or its process died (status %x) in operation %lu: %s",
					       seed, w, status,
					       r->worker[w].nops,
					       r->worker[w].doing);
		}
	}
	for (int w = 0; w < WORKERS; w++) {
		EXPECT_EQ(0, r->worker[w].failed[0]) {
			TH_LOG("FMAP_RANDOM_SEED=%lu, worker %d, operation %lu: %s: %s",
			       seed, w, r->worker[w].nops, r->worker[w].doing,
			       r->worker[w].failed);
		}
		EXPECT_TRUE(r->stop || r->worker[w].nops);
	}
	EXPECT_EQ(0, self->s->count[FUSE_READ] + self->s->count[FUSE_WRITE]);
	ASSERT_EQ(0, rs_unmount(self->s));
	rs_free(self->s);

	self->s = new_server(ndax);
	ASSERT_NE(NULL, self->s);
	ASSERT_EQ(0, view_devices(self->s, view));
	for (int i = 0; i < r->nspans && !r->stop; i++) {
		const struct span *s = &r->span[i];

		EXPECT_EQ(s->len, right_on_devices(map, view, s->pos,
						   model + s->pos, s->len)) {
			TH_LOG("FMAP_RANDOM_SEED=%lu: correct bytes on the devices from %lu",
			       seed, s->pos);
		}
	}
	for (int i = 0; i < ndax; i++)
		close(view[i]);
	ASSERT_EQ(0, rs_unmount(self->s));
	rs_free(self->s);
	self->s = NULL;
	munmap(model, r->size);
	free(map);
}

/* The environment sets the run time; alarm() ends a hang */
TEST_F_TIMEOUT(random, operations_leave_what_the_model_has, 1000000)
{
	unsigned long seconds = from_env("FMAP_RANDOM_SECONDS", 10), rounds;
	unsigned long seed = from_env("FMAP_RANDOM_SEED", now() % 1000000007);
	uint64_t begin = now(), nops = 0;

	ksft_print_msg("FMAP_RANDOM_SEED=%lu FMAP_RANDOM_SECONDS=%lu\n", seed,
		       seconds);
	for (rounds = 0; !rounds || (now() - begin < seconds * 1000000000UL &&
				     !self->r->stop); rounds++) {
		alarm(120 + seconds);
		/* layouts change at least every 10 seconds */
		one_round(_metadata, self, seed + rounds,
			  (seconds < 40 ? seconds : 40) * 1000000000UL /
			  (ROUNDS * PHASES));
		for (int w = 0; w < WORKERS; w++)
			nops += self->r->worker[w].nops;
	}
	alarm(0);
	ksft_print_msg("%lu operations on %lu layouts\n", nops, rounds);
}

TEST_HARNESS_MAIN
