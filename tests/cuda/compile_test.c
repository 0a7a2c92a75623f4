/* Shipped kernels through NVRTC for sm_90a, without a GPU: every phase compiles; what takes the fast path has its
 * instructions (wgmma, TMA) and no serialised wgmma, and what must be fast accesses local memory (spills) at most
 * MOST_LOCAL times in its code.
 *
 * Every kernel at d 64, 128, 256 in bf16 and f16 with ATTUNE_TEST_FULL=1; else a sample that fits SAMPLE_SECONDS, the
 * ones that must be fast first. ATTUNE_TEST_JOBS: processes (2). Arguments: kernels whose path holds one of them. */
#define _DEFAULT_SOURCE
#include <elf.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "compiler/emit/nvrtc.h"
#include "tests/pipeline/shipped.h"

enum { SKIPPED = 77, SAMPLE_SECONDS = 30, MOST_LOCAL = 100, MAX_UNITS = SHIPPED_MAX_KERNELS * 6, MAX_JOBS = 64 };

/* These take the fast path at every width here. */
static const char *const fast[] = {"softmax/full.attn",   "softmax/causal.attn", "windowed/sliding_window.attn", "position/alibi.attn",
                                   "softmax/softcap.attn", "softmax/causal_lse.attn"};

typedef struct Unit {
    const char *path;
    ElemType elem;
    int64_t D;
    bool must_be_fast;
    uint32_t order;
} Unit;
static Unit units[MAX_UNITS];
static int unit_count;

typedef struct Board {
    atomic_int next, compiled, fast, spilling, failed;
} Board;
static Board *board;
static time_t begin;
static bool full;

/* Machine code ------------------------------------------------------------------------------------------------- */

/* An instruction is 16 bytes; the low 9 bits say which, whatever its operands are. */
enum { SASS_WGMMA = 0x1f0, SASS_TMA_LOAD = 0x1b4, SASS_LOCAL_LOAD = 0x183, SASS_LOCAL_STORE = 0x187 };
typedef struct Counts {
    int wgmma, tma, local, all;
} Counts;

/* False: no section with the entry's code. */
static bool count_instructions(const unsigned char *cubin, size_t size, const char *entry, Counts *counts)
{
    Elf64_Ehdr head;
    char wanted[160];
    *counts = (Counts){0};
    snprintf(wanted, sizeof wanted, ".text.%s", entry);
    if (size < sizeof head)
        return false;
    memcpy(&head, cubin, sizeof head);
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) || head.e_shoff + (size_t)head.e_shnum * sizeof(Elf64_Shdr) > size)
        return false;
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(const void *)(cubin + head.e_shoff);
    const char *names = (const char *)cubin + sections[head.e_shstrndx].sh_offset;
    for (int s = 0; s < head.e_shnum; s++) {
        if (strcmp(names + sections[s].sh_name, wanted))
            continue;
        for (size_t at = 0; at + 16 <= sections[s].sh_size; at += 16) {
            uint64_t word;
            memcpy(&word, cubin + sections[s].sh_offset + at, sizeof word);
            counts->wgmma += (word & 0x1ff) == SASS_WGMMA;
            counts->tma += (word & 0x1ff) == SASS_TMA_LOAD;
            counts->local += (word & 0x1ff) == SASS_LOCAL_LOAD || (word & 0x1ff) == SASS_LOCAL_STORE;
            counts->all++;
        }
        return true;
    }
    return false;
}

/* One kernel ------------------------------------------------------------------------------------------------------ */

static void complain(const Unit *unit, const char *what, const char *text)
{
    board->failed++;
    printf("FAILED %s %s d%lld: %s %.300s\n", unit->path, elem_type_name(unit->elem), (long long)unit->D, what, text);
}

static void check_phase(const Unit *unit, const Kernel *kernel, const KernelPhase *phase, bool *is_fast)
{
    Counts counts;
    char text[200];
    if (!count_instructions(kernel->code, kernel->code_size, phase->entry, &counts)) {
        complain(unit, "the cubin has no code for", phase->entry);
        return;
    }
    if (phase->map_count == 0)
        return;
    *is_fast = true;
    snprintf(text, sizeof text, "%s: %d wgmma, %d TMA loads, %d accesses of local memory, %d instructions", phase->entry, counts.wgmma,
             counts.tma, counts.local, counts.all);
    if (counts.wgmma == 0 || counts.tma == 0)
        complain(unit, "not what the fast path is made of:", text);
    board->spilling += counts.local > 0;
    if (unit->must_be_fast && counts.local > MOST_LOCAL)
        complain(unit, "spills:", text);
    if (full)
        printf("       %s %s d%lld %s\n", unit->path, elem_type_name(unit->elem), (long long)unit->D, text);
}

static void check_unit(const Unit *unit)
{
    Arena *arena = arena_create();
    Diag *diag = diag_create(arena);
    Target target;
    CaseShape widths = {.D = unit->D, .E = unit->D};
    Spec *spec = case_spec_file(arena, diag, unit->path, NULL, 0);
    Kernel *kernel = NULL;
    if (spec && target_parse(diag, "cuda", &target)) {
        widths = shipped_shape(spec, unit->path, &widths, 1);
        CompileOptions options = {.target = &target, .elem = unit->elem, .D = widths.D, .E = widths.E};
        kernel = compile_spec(arena, diag, spec, &options);
    }
    bool is_fast = false;
    for (int p = 0; kernel && p < kernel->phase_count; p++)
        check_phase(unit, kernel, &kernel->phases[p], &is_fast);
    if (!kernel && !shipped_is_refused(diag))
        complain(unit, "no kernel:", diag_to_text(diag));
    for (const Message *entry = kernel ? diag->first : NULL; entry; entry = entry->next)
        if (!strcmp(entry->id, "slow-code") && strstr(entry->text, "serialised"))
            complain(unit, "slow:", entry->text);
    if (kernel && unit->must_be_fast && !is_fast)
        complain(unit, "does not take", "the fast path");
    board->compiled += kernel != NULL;
    board->fast += is_fast;
    kernel_destroy(kernel);
    arena_destroy(arena);
}

static void work(void)
{
    for (int n; (n = board->next++) < unit_count && (full || time(NULL) - begin < SAMPLE_SECONDS);)
        check_unit(&units[n]);
}

/* All ---------------------------------------------------------------------------------------------------------------- */

static int by_order(const void *a, const void *b)
{
    const Unit *x = a, *y = b;
    if (x->must_be_fast != y->must_be_fast)
        return x->must_be_fast ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static bool wanted(const char *path, int argc, char **argv)
{
    bool found = argc < 2;
    for (int n = 1; n < argc; n++)
        found |= strstr(path, argv[n]) != NULL;
    return found;
}

static void make_units(int argc, char **argv)
{
    static char *paths[SHIPPED_MAX_KERNELS];
    static const ElemType elems[] = {ELEM_TYPE_BF16, ELEM_TYPE_F16};
    int count = shipped_kernels(KERNELS, paths);
    for (int n = 0; n < count; n++)
        for (int d = 0; d < 3; d++)
            for (int e = 0; e < 2; e++) {
                if (!wanted(paths[n], argc, argv))
                    continue;
                Unit *unit = &units[unit_count];
                *unit = (Unit){.path = paths[n], .elem = elems[e], .D = 64 << d, .order = (uint32_t)(unit_count + 1) * 2654435761u};
                for (size_t f = 0; f < sizeof fast / sizeof *fast; f++)
                    unit->must_be_fast |= strstr(paths[n], fast[f]) != NULL;
                /* The sample has one of each, the widths and types in turn. */
                if (!full && unit->must_be_fast && (n + d) % 3 + 3 * ((n + e) % 2) != 0)
                    unit->must_be_fast = false;
                unit_count++;
            }
    qsort(units, (size_t)unit_count, sizeof *units, by_order);
}

int main(int argc, char **argv)
{
    if (!ATTUNE_HAVE_CUDA || !nvrtc_version()) {
        puts("skipped: no CUDA emitter or no NVRTC");
        return SKIPPED;
    }
    full = getenv("ATTUNE_TEST_FULL") != NULL;
    begin = time(NULL);
    int jobs = getenv("ATTUNE_TEST_JOBS") ? atoi(getenv("ATTUNE_TEST_JOBS")) : 2;
    jobs = jobs < 1 ? 1 : jobs > MAX_JOBS ? MAX_JOBS : jobs;
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        return 1;
    make_units(argc, argv);
    fflush(NULL);
    bool died = false;
    for (int job = 0; job < jobs; job++)
        if (fork() == 0) {
            setvbuf(stdout, NULL, _IOLBF, 0);
            work();
            _exit(0);
        }
    for (int job = 0, status; job < jobs; job++)
        died |= wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    printf("%d of %d kernels compiled, %d take the fast path, %d of these with spills, %d faults%s; %ld s\n", (int)board->compiled, unit_count,
           (int)board->fast, (int)board->spilling, (int)board->failed, died ? ", a process died" : "", (long)(time(NULL) - begin));
    return died || board->failed > 0 || board->compiled == 0;
}
