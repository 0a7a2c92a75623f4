/* Token by token: S = exp(g_t) S + b_t psi(k_t) v_t^T, o_t = a_t phi(q_t) . S. For decoding, where chunks would be empty
 * but for one row. The chunk scan with chunks of one token: the pair inside a chunk is the token with itself. */
#include "state.h"

void recurrent_lower(Lower *lower, const Factor *factor)
{
    (void)factor;
    diag_error(lower->diag, lower->spec->span, "not-yet", "the recurrent form is not compiled yet");
    arena_fail(lower->arena);
}
