/* attune run: compiles one attention, launches it, and on demand checks it, times it, writes its results. */
#include <math.h>

#include "compiler/attention/mask_survey.h"
#include "compiler/compile.h"
#include "runtime/cli/bench.h"
#include "runtime/cli/device_data.h"

#include <string.h>

typedef struct Run {
    const Arguments *arguments;
    SpecReader reader;
    const Spec *spec;
    AttuneSpec *public_spec;
    AttuneContext *context;
    AttuneKernel *kernel;
    AttuneKernelInfo info;
    AttuneKernelOptions options;
    LaunchData data;
    DeviceData device; /* device.device NULL: the kernel is for the host */
} Run;

static const char *origin_name(AttuneOrigin origin)
{
    switch (origin) {
    case ATTUNE_FROM_MEMORY: return "found in memory";
    case ATTUNE_FROM_DISK: return "found in the disk cache";
    case ATTUNE_FROM_COMPILER: return "compiled";
    default: return "built ahead of time";
    }
}

static int make_kernel(Run *run)
{
    run->options = (AttuneKernelOptions){
        .target = option_value(run->arguments, OPTION_TARGET, NULL),
        .dtype = run->data.dtype,
        .d = run->data.shape.sizes.d,
        .e = run->data.shape.sizes.e,
        .dump = option_value(run->arguments, OPTION_DUMP, NULL),
    };
    AttuneError *error = NULL;
    run->kernel = attune_kernel_create(run->context, run->public_spec, &run->options, &error);
    if (!run->kernel)
        return error_report(run->arguments, error);
    attune_kernel_info(run->kernel, &run->info);
    return EXIT_DONE;
}

static void print_summary(const Run *run)
{
    if (option_given(run->arguments, OPTION_QUIET))
        return;
    printf("%s on %s: ", run->info.name, run->info.target);
    shape_print(stdout, &run->data.shape, run->spec->rank);
    printf(" %s\nkernel %s in %.1f ms", attune_dtype_name(run->info.dtype), origin_name(run->info.origin),
           run->info.create_ms);
    if (run->info.code_bytes > 0)
        printf(", %zu bytes of code", run->info.code_bytes);
    printf("\n");
}

/* So many rows that the reference takes about a second; never fewer than every one in sixteen of few rows. */
static int64_t rows_step(const Run *run)
{
    const AttuneSizes *sizes = &run->data.shape.sizes;
    double all = (double)sizes->b * (double)sizes->h * (double)sizes->m * (double)sizes->n *
                 (double)(sizes->d + sizes->e);
    return all <= 4e8 ? 1 : (int64_t)fmin(ceil(all / 4e8), fmax(1, (double)sizes->m / 16)) | 1;
}

static int check_result(Run *run)
{
    int64_t rows = rows_step(run);
    if (!option_int(run->arguments, OPTION_ROWS, 1, INT64_MAX, &rows))
        return EXIT_USAGE;
    AttuneCheck check;
    AttuneError *error = NULL;
    if (attune_check(run->public_spec, &run->options, &run->data.launch, rows, &check, &error) != ATTUNE_OK)
        return error_report(run->arguments, error);
    printf("check: %lld values%s", (long long)check.values, rows > 1 ? "" : "\n");
    if (rows > 1)
        printf(", every %lldth row\n", (long long)rows);
    printf("  max error  %.3e  limit %.3e  (a plain run in %s: %.3e)\n", check.max_error, check.max_limit,
           attune_dtype_name(run->data.dtype), check.plain_max);
    printf("  rms error  %.3e  limit %.3e  (a plain run in %s: %.3e)\n", check.rms_error, check.rms_limit,
           attune_dtype_name(run->data.dtype), check.plain_rms);
    if (run->data.return_count > 0)
        printf("  lse error  %.3e\n", check.lse_error);
    if (check.wrong_empty_rows > 0)
        printf("  wrong rows %lld (NaN, or not exactly 0 where no key is visible)\n",
               (long long)check.wrong_empty_rows);
    printf("  %s\n", check.passed ? "passed" : "FAILED");
    return check.passed ? EXIT_DONE : EXIT_WRONG;
}

static int bench_result(Run *run)
{
    int64_t seconds = 2;
    if (!option_int(run->arguments, OPTION_SECONDS, 0, 3600, &seconds))
        return EXIT_USAGE;
    BenchTimes times;
    AttuneError *error = NULL;
    const Device *device = run->device.device;
    AttuneStatus measured =
        device
            ? bench_launch_device(run->kernel, &run->device.launch, device, (double)seconds, &times, &error)
            : bench_launch(run->kernel, &run->data.launch, (double)seconds, &times, &error);
    if (measured != ATTUNE_OK)
        return error_report(run->arguments, error);
    RefProblem problem;
    launch_data_problem(&run->data, &problem);
    const AttuneSizes *sizes = &run->data.shape.sizes;
    MaskSurvey *survey =
        mask_survey_create(run->reader.arena, run->spec, &problem, run->info.block_m, run->info.block_n);
    MaskCount count = mask_survey_count(survey, -1, -1);
    double tiles = count.empty + count.partial + count.full;
    printf("bench: median %.*f ms of %d runs (%.*f to %.*f) on ", device ? 4 : 3, times.median * 1e3,
           times.runs, device ? 4 : 3, times.least * 1e3, device ? 4 : 3, times.most * 1e3);
    if (device)
        printf("%s\n", device->name);
    else
        printf("%d threads\n", attune_context_threads(run->context));
    printf("  %.1f %s on the %s%.2f%% of pairs that are visible\n",
           bench_operations(count.visible, sizes->d, sizes->e) / times.median * (device ? 1e-12 : 1e-9),
           device ? "TFLOP/s" : "GFLOP/s", count.pairs_sampled ? "about " : "",
           count.pairs > 0 ? 100 * count.visible / count.pairs : 0);
    printf("  %.2f%% of key tiles visited (%.0f of %.0f: %.0f full, %.0f partial)\n",
           tiles > 0 ? 100 * (count.partial + count.full) / tiles : 0, count.partial + count.full, tiles,
           count.full, count.partial);
    return EXIT_DONE;
}

/* One launch, its results in run->data. */
static int launch(Run *run)
{
    AttuneError *error = NULL;
    if (run->info.device == ATTUNE_DEVICE_HOST) {
        if (attune_kernel_launch(run->kernel, &run->data.launch, &error) != ATTUNE_OK)
            return error_report(run->arguments, error);
        return EXIT_DONE;
    }
    AttuneStatus status = device_data_make(run->context, &run->data, &run->device, &error);
    if (status == ATTUNE_OK)
        status = attune_kernel_launch(run->kernel, &run->device.launch, &error);
    if (status == ATTUNE_OK)
        status = device_data_fetch(&run->device, &error);
    return status == ATTUNE_OK ? EXIT_DONE : error_report(run->arguments, error);
}

static int run_all(Run *run)
{
    SpecFile file;
    if (!spec_file_read(&run->reader, run->arguments->files[0], &file))
        return EXIT_WRONG;
    run->spec = spec_file_check(&run->reader, &file);
    int status = spec_reader_report(&run->reader);
    if (!run->spec || status != EXIT_DONE)
        return EXIT_WRONG;
    run->public_spec = spec_file_public(&run->reader, &file);
    if (!run->public_spec)
        return EXIT_WRONG;
    status = launch_data_make(run->arguments, run->spec, run->public_spec, false, &run->data);
    if (status != EXIT_DONE)
        return status;
    run->context = context_open(run->arguments);
    if (!run->context)
        return EXIT_WRONG;
    status = make_kernel(run);
    if (status != EXIT_DONE)
        return status;
    print_summary(run);
    status = launch(run);
    if (status == EXIT_DONE)
        status = launch_data_write(&run->data);
    if (status == EXIT_DONE && option_given(run->arguments, OPTION_BENCH))
        status = bench_result(run);
    if (status == EXIT_DONE && option_given(run->arguments, OPTION_CHECK))
        status = check_result(run);
    return status;
}

int cmd_run(const Arguments *arguments)
{
    if (strcmp(option_value(arguments, OPTION_DUMP, ""), "help") == 0) {
        printf("Letters of `-d`, in the order of the passes:\n");
        compile_print_passes(stdout);
        return EXIT_DONE;
    }
    static Run run; /* static: what setjmp below must not lose */
    run = (Run){.arguments = arguments};
    int opened = spec_reader_open(&run.reader, arguments);
    if (opened != EXIT_DONE)
        return opened;
    jmp_buf door;
    arena_arm(run.reader.arena, &door);
    volatile int status = EXIT_WRONG;
    if (setjmp(door))
        diag_out_of_memory(run.reader.diag);
    else
        status = run_all(&run);
    int reported = spec_reader_report(&run.reader);
    device_data_free(&run.device);
    launch_data_free(&run.data);
    attune_kernel_destroy(run.kernel);
    attune_context_destroy(run.context);
    attune_spec_destroy(run.public_spec);
    spec_reader_close(&run.reader);
    return status != EXIT_DONE ? status : reported;
}
