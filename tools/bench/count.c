// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU's TCG. It counts how often each instruction of the kernel is
 * executed between two markers, which are no-operations in a guest program (see
 * bench.c).
 *
 *   -plugin file=count.so,out=FILE
 *
 * Each end marker writes to FILE a line "section", then a line per executed
 * address: the address and its count. The guest must have one processor.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The part of QEMU's plugin interface that is used, version 3 (QEMU 9.1).
 * Distributions don't package the header.
 */
struct qemu_info;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_scoreboard;
typedef struct {
	struct qemu_plugin_scoreboard *score;
	size_t offset;
} qemu_plugin_u64;
#define QEMU_PLUGIN_CB_NO_REGS		0
#define QEMU_PLUGIN_INLINE_ADD_U64	0

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id,
		void (*cb)(uint64_t id, struct qemu_plugin_tb *tb));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *
qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *dest,
			     size_t len);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
		void (*cb)(unsigned int vcpu, void *data), int flags,
		void *data);
void qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
		struct qemu_plugin_insn *insn, int op, qemu_plugin_u64 entry,
		uint64_t n);
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t size);
void *qemu_plugin_scoreboard_find(struct qemu_plugin_scoreboard *score,
				  unsigned int vcpu);

__attribute__((visibility("default"))) int qemu_plugin_version = 3;

#define NCOUNTERS	(1U << 21)
#define KERNEL		(1ULL << 63)

static struct qemu_plugin_scoreboard *counters;
static uint64_t address[NCOUNTERS];	/* hash table; index = counter */
static unsigned int nused;
static FILE *out;

static unsigned int counter_of(uint64_t addr)
{
	unsigned int i = (addr * 0x9e3779b97f4a7c15ULL) >> 43;

	for (; address[i] && address[i] != addr; i = (i + 1) % NCOUNTERS)
		;
	if (!address[i]) {
		address[i] = addr;
		if (++nused > NCOUNTERS / 2) {
			fputs("count: too many instructions\n", stderr);
			exit(1);
		}
	}
	return i;
}

static void begin(unsigned int vcpu, void *data)
{
	(void)data;
	memset(qemu_plugin_scoreboard_find(counters, vcpu), 0,
	       NCOUNTERS * sizeof(uint64_t));
}

static void end(unsigned int vcpu, void *data)
{
	const uint64_t *count = qemu_plugin_scoreboard_find(counters, vcpu);

	(void)data;
	fputs("section\n", out);
	for (unsigned int i = 0; i < NCOUNTERS; i++)
		if (count[i])
			fprintf(out, "%" PRIx64 " %" PRIu64 "\n", address[i],
				count[i]);
	fflush(out);
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	static const unsigned char mark[] = { 0x0f, 0x1f, 0x80, 0, 0, 0x44, 0x46 };

	(void)id;
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t addr = qemu_plugin_insn_vaddr(insn);
		qemu_plugin_u64 entry = { .score = counters };
		unsigned char code[sizeof(mark)];
		int which;

		if (addr & KERNEL) {
			entry.offset = counter_of(addr) * sizeof(uint64_t);
			qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn,
					QEMU_PLUGIN_INLINE_ADD_U64, entry, 1);
			continue;
		}
		if (qemu_plugin_insn_data(insn, code, sizeof(code)) < sizeof(code))
			continue;
		which = code[3];
		code[3] = 0;
		if (!memcmp(code, mark, sizeof(mark)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn,
					which == 1 ? begin : end,
					QEMU_PLUGIN_CB_NO_REGS, NULL);
	}
}

__attribute__((visibility("default")))
int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc,
			char **argv)
{
	(void)info;
	if (argc == 1 && !strncmp(argv[0], "out=", 4))
		out = fopen(argv[0] + 4, "w");
	if (!out) {
		fputs("count: out=FILE is needed\n", stderr);
		return 1;
	}
	counters = qemu_plugin_scoreboard_new(NCOUNTERS * sizeof(uint64_t));
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
