/* What holds for every file of kernels/: it says what it computes, parses and checks without a message, and
 * runs. */
#include <dirent.h>
#include <stdio.h>

#include "oracle.h"

static void one_kernel(const char *folder, const char *file)
{
    char path[600], name[128];
    snprintf(path, sizeof path, "%s/%s/%s", KERNELS, folder, file);
    snprintf(name, sizeof name, "%.*s", (int)strlen(file) - 5, file);
    Problem *p = problem_open(path, NULL, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    if (!p->spec || p->diag->first)
        fputs(diag_to_text(p->diag), stderr);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p->spec);
    CU_ASSERT_PTR_NULL(p->diag->first);
    CU_ASSERT_STRING_EQUAL(p->spec->name, name);

    char *text;
    size_t length;
    const char *why;
    CU_ASSERT_FATAL(dsl_read_file(p->arena, path, &text, &length, &why));
    CU_ASSERT_EQUAL(strncmp(text, "// ", 3), 0);
    const char *rows = strstr(text, "// variants:");
    if (rows) {
        char *end = (char *)rows + 12;
        while (*end == ' ') {
            long row = strtol(end, &end, 10);
            CU_ASSERT(row >= 1 && row <= 119);
        }
        CU_ASSERT_EQUAL(*end, '\n');
    }
    p->ref = (RefProblem){.B = 1, .H = 2, .G = 1, .M = 9, .N = 9, .D = 4, .E = 4,
                          .m_axis = {3, 3, 1}, .n_axis = {3, 3, 1}};
    for (int n = 0; n < p->spec->param_count; n++) /* extents of tensors */
        if (p->spec->params[n].hidden)
            p->spec->params[n].value.i = 3;
    problem_fill(p, ELEM_TYPE_F32, 1);
    for (int n = 0; n < p->spec->input_count; n++) /* slopes, rates and the like are positive */
        for (int64_t at = 0; at < problem_input_count(p, n); at++)
            problem_set(p, n, at, fabs(p->inputs[n][at]));
    CU_ASSERT_FATAL(problem_run(p, true, ELEM_TYPE_F32));
    int64_t count = p->ref.B * p->ref.H * p->ref.M * problem_out_width(p), finite = 0;
    for (int64_t n = 0; n < count; n++)
        finite += isfinite(p->o[n]) != 0;
    if (finite != count)
        fprintf(stderr, "%s: %lld of %lld values are finite\n", file, (long long)finite, (long long)count);
    CU_ASSERT_EQUAL(finite, count);
    problem_destroy(p);
}

static void every_kernel(void)
{
    DIR *top = opendir(KERNELS);
    struct dirent *folder, *file;
    int count = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(top);
    while ((folder = readdir(top))) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", KERNELS, folder->d_name);
        DIR *inside = folder->d_name[0] == '.' ? NULL : opendir(path);
        while (inside && (file = readdir(inside))) {
            size_t length = strlen(file->d_name);
            if (length < 6 || strcmp(file->d_name + length - 5, ".attn"))
                continue;
            one_kernel(folder->d_name, file->d_name);
            count++;
        }
        if (inside)
            closedir(inside);
    }
    closedir(top);
    CU_ASSERT(count >= 50);
}

void shipped_suite(void)
{
    CU_pSuite suite = CU_add_suite("shipped specs", NULL, NULL);
    CU_add_test(suite, "each says what it is, checks and runs", every_kernel);
}
