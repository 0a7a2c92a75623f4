/* Windows on lines, grids and volumes. */
#include "oracle.h"

/* Neighbourhoods, by the formula of the released masks: along an axis of length L, on the index divided by
 * the dilation inside its residue class.
 * --------------------------------------------------------------------------- */

static bool axis_near(int64_t i, int64_t j, int64_t n, int64_t width, int64_t dilation, int64_t stride,
                      bool causal)
{
    if (i % dilation != j % dilation)
        return false;
    int64_t residue = i % dilation, L = 0;
    for (int64_t t = residue; t < n; t += dilation)
        L++;
    i /= dilation;
    j /= dilation;
    if (causal) {
        int64_t leader = i / stride * stride + stride - 1 < L - 1 ? i / stride * stride + stride - 1 : L - 1;
        int64_t start = leader - width + 1 > 0 ? leader - width + 1 : 0, end = i + 1 < L ? i + 1 : L;
        return start <= j && j < end;
    }
    int64_t leader = i / stride * stride + stride / 2 < L - 1 ? i / stride * stride + stride / 2 : L - 1;
    int64_t right = width / 2 + width % 2 - 1;
    int64_t start = leader - width / 2 > 0 ? leader - width / 2 : 0;
    if (leader + right >= L)
        start += L - leader - right - 1;
    return start <= j && j < start + width;
}

static bool near1(const Pair *at) { return axis_near(at->i, at->j, at->p->ref.N, 5, 1, 1, false); }
static bool near1_even(const Pair *at) { return axis_near(at->i, at->j, at->p->ref.N, 4, 1, 1, false); }
static bool near1_dilated(const Pair *at) { return axis_near(at->i, at->j, at->p->ref.N, 3, 4, 1, false); }
static bool near1_stride(const Pair *at) { return axis_near(at->i, at->j, at->p->ref.N, 7, 1, 3, false); }
static bool near1_blocked(const Pair *at) { return axis_near(at->i, at->j, at->p->ref.N, 4, 1, 4, false); }
static bool near1_both(const Pair *at) { return axis_near(at->i, at->j, at->p->ref.N, 4, 3, 2, false); }
static bool near1_causal(const Pair *at) { return axis_near(at->i, at->j, at->p->ref.N, 5, 1, 1, true); }
static bool near1_causal_all(const Pair *at) { return axis_near(at->i, at->j, at->p->ref.N, 4, 3, 2, true); }

static bool near2_of(const Pair *at, const int64_t *width, const int64_t *dilation, const int64_t *stride,
                     const bool *causal)
{
    const int64_t *n = at->p->ref.n_axis;
    return axis_near(at->i / n[1], at->j / n[1], n[0], width[0], dilation[0], stride[0], causal[0])
        && axis_near(at->i % n[1], at->j % n[1], n[1], width[1], dilation[1], stride[1], causal[1]);
}
static const int64_t ones[3] = {1, 1, 1};
static const bool no[3] = {false, false, false};
static bool near2(const Pair *at) { return near2_of(at, (int64_t[]){3, 5}, ones, ones, no); }
static bool near2_dilated(const Pair *at)
{
    return near2_of(at, (int64_t[]){3, 3}, (int64_t[]){2, 3}, ones, no);
}
static bool near2_stride(const Pair *at)
{
    return near2_of(at, (int64_t[]){4, 5}, ones, (int64_t[]){2, 3}, no);
}
static bool near2_causal(const Pair *at)
{
    return near2_of(at, (int64_t[]){3, 4}, (int64_t[]){2, 1}, (int64_t[]){1, 2}, (bool[]){true, false});
}
static bool near3(const Pair *at)
{
    const int64_t *n = at->p->ref.n_axis;
    int64_t i = at->i, j = at->j, plane = n[1] * n[2];
    return axis_near(i / plane, j / plane, n[0], 2, 1, 1, true)
           && axis_near(i / n[2] % n[1], j / n[2] % n[1], n[1], 3, 1, 2, false)
           && axis_near(i % n[2], j % n[2], n[2], 2, 2, 1, false);
}
static bool near3_plain(const Pair *at)
{
    const int64_t *n = at->p->ref.n_axis;
    int64_t i = at->i, j = at->j, plane = n[1] * n[2];
    return axis_near(i / plane, j / plane, n[0], 3, 1, 1, false)
           && axis_near(i / n[2] % n[1], j / n[2] % n[1], n[1], 3, 1, 1, false)
           && axis_near(i % n[2], j % n[2], n[2], 3, 1, 1, false);
}

static double scaled(const Pair *at, double dot) { return dot / sqrt((double)at->p->ref.D); }
static double bias1(const Pair *at, double dot)
{
    int64_t steps = (at->j - at->i) / 4; /* the dilation divides it */
    return scaled(at, dot) + input_of(at->p, "bias")[at->h * 5 + steps + 2];
}
static double bias2(const Pair *at, double dot)
{
    int64_t width = at->p->ref.n_axis[1], dy = at->j / width - at->i / width,
            dx = at->j % width - at->i % width;
    return scaled(at, dot) + input_of(at->p, "bias")[(at->h * 5 + dy + 2) * 9 + dx + 4];
}

static const KernelCase neighborhoods[] = {
#define LINE .B = 1, .H = 2, .G = 1, .M = 19, .N = 19, .D = 6, .E = 5
    {"windowed/neighborhood1", LINE, .settings = {{"kernel", "5"}}, .oracle = {.visible = near1}},
    {"windowed/neighborhood1", LINE, .settings = {{"kernel", "4"}}, .oracle = {.visible = near1_even}},
    {"windowed/neighborhood1", LINE, .settings = {{"kernel", "3"}, {"dilation", "4"}},
     .oracle = {.visible = near1_dilated}},
    {"windowed/neighborhood1", LINE, .settings = {{"kernel", "7"}, {"stride", "3"}},
     .oracle = {.visible = near1_stride}},
    {"windowed/neighborhood1", LINE, .settings = {{"kernel", "4"}, {"stride", "4"}},
     .oracle = {.visible = near1_blocked}},
    {"windowed/neighborhood1", LINE, .settings = {{"kernel", "4"}, {"dilation", "3"}, {"stride", "2"}},
     .oracle = {.visible = near1_both}},
    {"windowed/neighborhood1", LINE, .settings = {{"kernel", "5"}, {"causal", "true"}},
     .oracle = {.visible = near1_causal}},
    {"windowed/neighborhood1", LINE,
     .settings = {{"kernel", "4"}, {"dilation", "3"}, {"stride", "2"}, {"causal", "true"}},
     .oracle = {.visible = near1_causal_all}},
    {"windowed/neighborhood1_bias", LINE, .settings = {{"kernel", "3"}, {"dilation", "4"}},
     .oracle = {.visible = near1_dilated, .weight = bias1}},
#define GRID .B = 1, .H = 2, .G = 2, .D = 6, .E = 5, .m_axis = {6, 9}, .n_axis = {6, 9}
    {"windowed/neighborhood2", GRID, .settings = {{"kernel", "(3, 5)"}}, .oracle = {.visible = near2}},
    {"windowed/neighborhood2", GRID, .settings = {{"kernel", "3"}, {"dilation", "(2, 3)"}},
     .oracle = {.visible = near2_dilated}},
    {"windowed/neighborhood2", GRID, .settings = {{"kernel", "(4, 5)"}, {"stride", "(2,3)"}},
     .oracle = {.visible = near2_stride}},
    {"windowed/neighborhood2", GRID,
     .settings = {{"kernel", "(3, 4)"}, {"dilation", "(2, 1)"}, {"stride", "(1, 2)"}, {"causal_y", "true"}},
     .oracle = {.visible = near2_causal}},
    {"windowed/neighborhood2_bias", GRID, .settings = {{"kernel", "(3, 5)"}},
     .oracle = {.visible = near2, .weight = bias2}},
#define VOLUME .B = 1, .H = 2, .G = 1, .D = 4, .E = 4, .m_axis = {3, 5, 4}, .n_axis = {3, 5, 4}
    {"windowed/neighborhood3", VOLUME,
     .settings =
         {{"kernel", "(2, 3, 2)"}, {"stride", "(1, 2, 1)"}, {"dilation", "(1, 1, 2)"}, {"causal_z", "true"}},
     .oracle = {.visible = near3}},
    {"windowed/neighborhood3", VOLUME, .settings = {{"kernel", "3"}}, .oracle = {.visible = near3_plain}},
};

/* Windows of images. ----------------------------------------------------------------------------------- */

static bool box(const Pair *at)
{
    int64_t width = at->p->ref.n_axis[1];
    return at->i / width / 2 == at->j / width / 2 && at->i % width / 3 == at->j % width / 3;
}

/* One softmax row over `count` keys with given scores; key -1 is a zero vector. */
static void softmax_row(const Problem *p, int64_t b, int64_t g, const double *score, const int64_t *key,
                        int64_t count, double *o)
{
    double most = -INFINITY, sum = 0;
    for (int64_t n = 0; n < count; n++)
        most = fmax(most, score[n]);
    for (int64_t e = 0; e < p->ref.E; e++)
        o[e] = 0;
    for (int64_t n = 0; n < count; n++) {
        double w = exp(score[n] - most);
        sum += w;
        for (int64_t e = 0; e < p->ref.E && key[n] >= 0; e++)
            o[e] += w * v_row(p, b, g, key[n])[e];
    }
    for (int64_t e = 0; e < p->ref.E; e++)
        o[e] /= sum;
}

static double scaled_dot(const Problem *p, const double *q, const double *k)
{
    double sum = 0;
    for (int64_t c = 0; c < p->ref.D; c++)
        sum += q[c] * k[c];
    return sum / sqrt((double)p->ref.D);
}

enum { WINDOW = 4, SHIFT = 2 };

/* Which of three bands a row of the rolled image belongs to. */
static int64_t band(int64_t y, int64_t length)
{
    return y < length - WINDOW ? 0 : y < length - SHIFT ? 1 : 2;
}

/* As published: roll the image by -SHIFT, cut it into windows, hide pairs of different regions, roll back. */
static void rolled_windows(const Problem *p, Expected *expected)
{
    int64_t height = p->ref.m_axis[0], width = p->ref.m_axis[1], side = 2 * WINDOW - 1;
    const double *bias = input_of(p, "bias");
    for (int64_t b = 0; b < p->ref.B; b++)
        for (int64_t h = 0; h < p->ref.H; h++)
            for (int64_t y = 0; y < height; y++)
                for (int64_t x = 0; x < width; x++) {
                    /* (y, x) are places in the rolled image */
                    int64_t i = (y + SHIFT) % height * width + (x + SHIFT) % width, count = 0,
                            key[WINDOW * WINDOW];
                    double score[WINDOW * WINDOW];
                    for (int64_t wy = y / WINDOW * WINDOW; wy < y / WINDOW * WINDOW + WINDOW; wy++)
                        for (int64_t wx = x / WINDOW * WINDOW; wx < x / WINDOW * WINDOW + WINDOW; wx++) {
                            if (band(y, height) != band(wy, height) || band(x, width) != band(wx, width))
                                continue;
                            int64_t j = (wy + SHIFT) % height * width + (wx + SHIFT) % width;
                            score[count] = scaled_dot(p, q_row(p, b, h, i), k_row(p, b, group_of(p, h), j))
                                + bias[(h * side + y - wy + WINDOW - 1) * side + x - wx + WINDOW - 1];
                            key[count++] = j;
                        }
                    softmax_row(p, b, group_of(p, h), score, key, count, o_row(p, expected->o, b, h, i));
                }
}

enum { OCA_WINDOW = 3, OCA_KEYS = 5, OCA_HALO = 1, OCA_SIDE = OCA_WINDOW + OCA_KEYS - 1 };

static void zero_ring(Problem *p)
{
    int64_t height = p->ref.n_axis[0], width = p->ref.n_axis[1];
    for (int64_t row = 0; row < p->ref.B * p->ref.G * p->ref.N; row++) {
        int64_t y = row % p->ref.N / width, x = row % p->ref.N % width;
        if (y >= OCA_HALO && y < height - OCA_HALO && x >= OCA_HALO && x < width - OCA_HALO)
            continue;
        for (int64_t c = 0; c < p->ref.D; c++) {
            store_element((void *)p->ref.k.data, p->elem, row * p->ref.D + c, 0);
            p->k[row * p->ref.D + c] = 0;
        }
        for (int64_t e = 0; e < p->ref.E; e++) {
            store_element((void *)p->ref.v.data, p->elem, row * p->ref.E + e, 0);
            p->v[row * p->ref.E + e] = 0;
        }
    }
}

/* As published: unfold a larger patch around each window of the unpadded image, zeros outside it. */
static void unfolded_windows(const Problem *p, Expected *expected)
{
    int64_t height = p->ref.m_axis[0], width = p->ref.m_axis[1], padded = p->ref.n_axis[1];
    const double *bias = input_of(p, "bias");
    for (int64_t b = 0; b < p->ref.B; b++)
        for (int64_t h = 0; h < p->ref.H; h++)
            for (int64_t y = 0; y < height; y++)
                for (int64_t x = 0; x < width; x++) {
                    int64_t key[OCA_KEYS * OCA_KEYS], count = 0, top = y / OCA_WINDOW * OCA_WINDOW,
                                                      left = x / OCA_WINDOW * OCA_WINDOW;
                    double score[OCA_KEYS * OCA_KEYS];
                    for (int64_t ky = 0; ky < OCA_KEYS; ky++)
                        for (int64_t kx = 0; kx < OCA_KEYS; kx++) {
                            int64_t at_y = top + ky - OCA_HALO, at_x = left + kx - OCA_HALO;
                            bool inside = at_y >= 0 && at_y < height && at_x >= 0 && at_x < width;
                            int64_t j = inside ? (at_y + OCA_HALO) * padded + at_x + OCA_HALO : -1;
                            double s = inside ? scaled_dot(p, q_row(p, b, h, y * width + x),
                                                           k_row(p, b, group_of(p, h), j))
                                              : 0;
                            int64_t dy = ky - (y - top) + OCA_WINDOW - 1,
                                    dx = kx - (x - left) + OCA_WINDOW - 1;
                            score[count] = s + bias[(h * OCA_SIDE + dy) * OCA_SIDE + dx];
                            key[count++] = j;
                        }
                    softmax_row(p, b, group_of(p, h), score, key, count,
                                o_row(p, expected->o, b, h, y * width + x));
                }
}

static double window_bias(const Pair *at, double dot)
{
    int64_t dy = at->i / 4 - at->j / 4, dx = at->i % 4 - at->j % 4;
    return scaled(at, dot) + input_of(at->p, "bias")[(at->h * 5 + dy + 2) * 7 + dx + 3];
}

static bool halo(const Pair *at)
{
    int64_t u = at->i / 6;
    return u * 6 - 2 <= at->j && at->j < (u + 1) * 6 + 2;
}

static const KernelCase windows[] = {
    {"windowed/twins_lsa", .B = 2, .H = 2, .G = 1, .D = 5, .E = 4, .m_axis = {4, 9}, .n_axis = {4, 9},
     .settings = {{"window", "(2, 3)"}}, .oracle = {.visible = box}},
    {"windowed/swin", .B = 2, .H = 2, .G = 1, .D = 5, .E = 4, .m_axis = {8, 12}, .n_axis = {8, 12},
     .settings = {{"window", "4"}, {"shift", "2"}}, .own = rolled_windows},
    {"windowed/overlap_cross", .B = 1, .H = 2, .G = 2, .D = 5, .E = 4, .m_axis = {6, 9}, .n_axis = {8, 11},
     .settings = {{"window", "3"}, {"key_window", "5"}}, .prepare = zero_ring, .own = unfolded_windows},
    {"windowed/window_bias", .B = 3, .H = 2, .G = 1, .D = 5, .E = 4, .m_axis = {3, 4}, .n_axis = {3, 4},
     .settings = {{"window", "(3, 4)"}}, .oracle = {.weight = window_bias}},
    {"windowed/chunk_halo", .B = 1, .H = 2, .G = 1, .M = 19, .N = 19, .D = 6, .E = 5,
     .settings = {{"chunk", "6"}, {"overlap", "2"}}, .oracle = {.visible = halo}},
};

static void test_neighborhoods(void)
{
    run_kernel_cases(neighborhoods, sizeof neighborhoods / sizeof *neighborhoods);
}
static void test_windows(void) { run_kernel_cases(windows, sizeof windows / sizeof *windows); }

void window_suite(void)
{
    CU_pSuite suite = CU_add_suite("windows", NULL, NULL);
    CU_add_test(suite, "neighbourhoods", test_neighborhoods);
    CU_add_test(suite, "windows of images", test_windows);
}
