/* NVRTC: reading ptxas' report; compiling where the library is (without it, those tests say so and check that the
 * failure explains itself). One argument, "absent": there must be none. */
#include <CUnit/Basic.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/emit/nvrtc.h"

static Arena *arena;
static Diag *diag;

static int open_arena(void)
{
    arena = arena_create();
    diag = arena ? diag_create(arena) : NULL;
    return diag == NULL;
}

static int close_arena(void)
{
    arena_destroy(arena);
    return 0;
}

static const char log_text[] =
    "ptxas info    : 0 bytes gmem\n"
    "ptxas info    : (C7519) Potential Performance Loss: 'warpgroup.arrive' is injected in around line 7 by compiler\n"
    "ptxas info    : Compiling entry function 'flash_attend' for 'sm_90a'\n"
    "ptxas info    : Function properties for flash_attend\n"
    "ptxas         .     16 bytes stack frame, 48 bytes spill stores, 52 bytes spill loads\n"
    "ptxas info    : Used 168 registers, used 9 barriers, 16 bytes cumulative stack size, 128 bytes smem\n"
    "ptxas info    : Compile time = 197.247 ms\n"
    "ptxas info    : Compiling entry function 'flash_merge' for 'sm_90a'\n"
    "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
    "ptxas info    : Used 32 registers, used 0 barriers";

static void report(void)
{
    NvrtcReport r;
    nvrtc_read_log(log_text, &r);
    CU_ASSERT_EQUAL_FATAL(r.entry_count, 2);
    CU_ASSERT_STRING_EQUAL(r.entries[0].name, "flash_attend");
    CU_ASSERT_EQUAL(r.entries[0].registers, 168);
    CU_ASSERT_EQUAL(r.entries[0].stack, 16);
    CU_ASSERT_EQUAL(r.entries[0].spill_stores, 48);
    CU_ASSERT_EQUAL(r.entries[0].spill_loads, 52);
    CU_ASSERT_EQUAL(r.entries[0].barriers, 9);
    CU_ASSERT_EQUAL(r.entries[0].shared_bytes, 128);
    CU_ASSERT_STRING_EQUAL(r.entries[1].name, "flash_merge");
    CU_ASSERT(r.entries[1].registers == 32 && r.entries[1].spill_stores == 0 && r.entries[1].shared_bytes == 0);
    CU_ASSERT_FALSE(r.wgmma_serialized); /* C7519 only informs */
    nvrtc_read_log("ptxas info    : (C7512) Potential Performance Loss: wgmma.mma_async instructions are serialized due to "
                   "insufficient register resources for the wgmma pipeline in the function 'f'\n", &r);
    CU_ASSERT(r.wgmma_serialized && r.entry_count == 0);
    nvrtc_read_log("ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to "
                   "non wgmma instructions defining accumulator registers\n", &r);
    CU_ASSERT(r.wgmma_serialized);
    nvrtc_read_log("ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored to maintain minimum register "
                   "requirements.\n", &r);
    CU_ASSERT(r.setmaxnreg_ignored && !r.wgmma_serialized);
    nvrtc_read_log("", &r);
    CU_ASSERT_EQUAL(r.entry_count, 0);
    char many[4096] = "";
    for (int k = 0; k < NVRTC_MAX_ENTRIES + 3; k++)
        strcat(many, "Compiling entry function 'f' for 'sm_90a'\nUsed 12 registers\n");
    nvrtc_read_log(many, &r);
    CU_ASSERT_EQUAL(r.entry_count, NVRTC_MAX_ENTRIES);
}

static bool absent(void)
{
    if (nvrtc_version())
        return false;
    char why[512];
    nvrtc_explain_absence(why, sizeof why);
    printf("(no NVRTC here: %s) ", why);
    NvrtcResult result;
    CU_ASSERT(strlen(why) > 10);
    CU_ASSERT_EQUAL(nvrtc_compile(arena, diag, "", "t.cu", "sm_90a", NULL, &result), NVRTC_ABSENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(diag->last->text, why));
    CU_ASSERT_EQUAL(nvrtc_compile(arena, NULL, "", "t.cu", "sm_90a", NULL, &result), NVRTC_ABSENT);
    return true;
}

static void compiles(void)
{
    if (absent())
        return;
    static const char text[] =
        "extern \"C\" __global__ void __launch_bounds__(128, 1) scale(const __grid_constant__ long long n, float *o) {\n"
        "    asm volatile(\"setmaxnreg.inc.sync.aligned.u32 240;\");\n" /* sm_90a only */
        "    if (threadIdx.x < n) o[threadIdx.x] = FACTOR * o[threadIdx.x];\n"
        "}\n"
        "extern \"C\" __global__ void spill(const int *p, float *o) {\n"
        "    float x[80]; for (int i = 0; i < 80; i++) x[i] = o[p[i]];\n"
        "    for (int k = 0; k < 9; k++) for (int i = 0; i < 80; i++) { x[i] = x[i] * x[(i + 1) % 80]; __syncthreads(); }\n"
        "    for (int i = 0; i < 80; i++) o[i] = x[i];\n"
        "}\n";
    const char *const options[] = {"-DFACTOR=2.0f", "--maxrregcount=32", NULL};
    NvrtcResult result;
    CU_ASSERT_EQUAL_FATAL(nvrtc_compile(arena, diag, text, "t.cu", "sm_90a", options, &result), NVRTC_DONE);
    CU_ASSERT(result.cubin_size > 1000 && memcmp(result.cubin, "\x7f" "ELF", 4) == 0);
    CU_ASSERT(result.milliseconds > 0);
    CU_ASSERT_EQUAL_FATAL(result.report.entry_count, 2);
    for (int e = 0; e < 2; e++) {
        const NvrtcEntry *entry = &result.report.entries[e];
        bool spills = strcmp(entry->name, "spill") == 0;
        CU_ASSERT(spills || strcmp(entry->name, "scale") == 0);
        CU_ASSERT(entry->registers > 0);
        CU_ASSERT_EQUAL(entry->spill_stores > 0 && entry->spill_loads > 0, spills);
    }
    CU_ASSERT_EQUAL(diag->errors, 0);
}

static void refuses(void)
{
    if (absent())
        return;
    NvrtcResult result;
    int errors = diag->errors;
    CU_ASSERT_EQUAL(nvrtc_compile(arena, diag, "__global__ void f() { nonsense; }", "t.cu", "sm_90a", NULL, &result), NVRTC_FAILED);
    CU_ASSERT_EQUAL(diag->errors, errors + 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(diag->last->text, "nonsense"));
    CU_ASSERT_PTR_NOT_NULL(strstr(result.log, "t.cu(1): error"));
    CU_ASSERT_PTR_NULL(result.cubin);
    CU_ASSERT_EQUAL(nvrtc_compile(arena, diag, "", "t.cu", "sm_1", NULL, &result), NVRTC_ABSENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(diag->last->text, "cannot compile for sm_1"));
    CU_ASSERT_EQUAL(diag->errors, errors + 2);
    CU_ASSERT_EQUAL(nvrtc_compile(arena, NULL, "nonsense", "t.cu", "sm_90a", NULL, &result), NVRTC_FAILED);
    CU_ASSERT_EQUAL(diag->errors, errors + 2);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "absent") == 0) {
        setenv("ATTUNE_NVRTC", "/nowhere/libnvrtc.so", 1);
        if (nvrtc_version())
            return 1;
    }
    CU_TestInfo tests[] = {{"report", report}, {"compiles", compiles}, {"refuses", refuses}, CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"nvrtc", open_arena, close_arena, NULL, NULL, tests}, CU_SUITE_INFO_NULL};
    if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS)
        return 2;
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failures > 0;
}
