/* What `show` and `explain` look at: one attention at one shape, its tile sizes, the survey of its mask. */
#ifndef ATTUNE_CLI_MASK_VIEW_H
#define ATTUNE_CLI_MASK_VIEW_H

#include "compiler/attention/mask_survey.h"
#include "compiler/compile.h"
#include "runtime/cli/launch_data.h"

typedef struct MaskView {
    const Arguments *arguments;
    SpecReader reader;
    Spec *spec;
    AttuneSpec *public_spec;
    LaunchData data;
    RefProblem problem;
    Target target;
    ElemType elem;
    const Program *program; /* what the compiler makes of it */
    int64_t block_m[SPEC_MAX_RANK], block_n[SPEC_MAX_RANK];
    MaskSurvey *survey;
} MaskView;

/* Opens the view of arguments->files[0], calls body(view), cleans up; the command's exit status. */
int mask_view_run(const Arguments *arguments, int (*body)(MaskView *view));

#endif
