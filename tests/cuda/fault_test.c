/* Every call to the driver fails in turn: the launch or plan says so, nothing leaks, and the next one works. */
#include <string.h>

#include "fake_kernel.h"
#include "suites.h"

static int left; /* of fail_at, when the work was done */

/* Freeing does not fail on purpose: nobody could be told, and the driver would be gone. */
static void stop_failing(void)
{
    left = fake->fail_at;
    fake->fail_at = 0;
}

static bool launch_once(AttuneContext *context, Fixture *f, AttuneError **error)
{
    AttuneKernel *kernel = fake_kernel(context, NULL);
    bool done = attune_kernel_launch(kernel, &f->launch, error) == ATTUNE_OK;
    stop_failing();
    attune_kernel_destroy(kernel);
    return done;
}

static bool plan_once(AttuneContext *context, Fixture *f, AttuneError **error)
{
    AttuneKernel *kernel = fake_kernel(context, NULL);
    const void *inputs[FIX_INPUTS];
    void *returns[1];
    AttunePlanData data = fake_plan_data(f, inputs, returns, NULL);
    AttunePlan *plan = attune_plan_create(kernel, &f->launch, error);
    bool done = plan && attune_plan_launch(plan, &data, error) == ATTUNE_OK;
    stop_failing();
    attune_plan_destroy(plan);
    attune_kernel_destroy(kernel);
    return done;
}

static void sweep(bool (*once)(AttuneContext *, Fixture *, AttuneError **), bool ragged, int code, AttuneStatus want)
{
    int failures = 0, last = 0;
    for (int n = 1; n < 1000 && !last; n++) {
        fake_reset();
        AttuneContext *context = attune_context_create(NULL, NULL);
        Fixture f;
        fake_fixture_init(&f);
        if (ragged)
            fixture_make_ragged(&f);
        fake->fail_at = n;
        fake->fail_code = code;
        AttuneError *error = NULL;
        if (once(context, &f, &error)) {
            /* Only asking for a stream's id may fail quietly. */
            last = left > 0 ? n : 0;
        } else {
            failures++;
            CU_ASSERT_EQUAL(attune_error_status(error), want);
            CHECK_CONTAINS(attune_error_message(error), code == CUDA_OUT_OF_MEMORY ? "no memory left" : "a fake failure (FAKE_ERROR");
            attune_error_free(error);
            error = NULL;
        }
        CU_ASSERT_EQUAL(fake->pool_blocks, 0);
        CU_ASSERT_TRUE(once(context, &f, &error));
        attune_context_destroy(context);
    }
    fake_check_clean();
    CU_ASSERT(last > 0 && failures > 20);
}

static void launches(void)
{
    sweep(launch_once, false, 999, ATTUNE_ERROR_INTERNAL);
    sweep(launch_once, true, 999, ATTUNE_ERROR_INTERNAL);
    sweep(launch_once, true, CUDA_OUT_OF_MEMORY, ATTUNE_ERROR_MEMORY);
}

static void plans(void)
{
    sweep(plan_once, false, 999, ATTUNE_ERROR_INTERNAL);
    sweep(plan_once, true, CUDA_OUT_OF_MEMORY, ATTUNE_ERROR_MEMORY);
}

static void wrong_image(void)
{
    fake_reset();
    AttuneContext *context = attune_context_create(NULL, NULL);
    Fixture f;
    fake_fixture_init(&f);
    strcpy(fake->fail_name, "ModuleLoadData");
    fake->fail_at = 1;
    fake->fail_code = CUDA_NO_BINARY;
    AttuneError *error = NULL;
    CU_ASSERT_FALSE(launch_once(context, &f, &error));
    CHECK_CONTAINS(attune_error_message(error), "loading the kernel failed on device 0");
    attune_error_free(error);
    attune_context_destroy(context);
    fake_check_clean();
}

CU_TestInfo cuda_fault_tests[] = {{"launches", launches}, {"plans", plans}, {"wrong image", wrong_image}, CU_TEST_INFO_NULL};
