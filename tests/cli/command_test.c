/* The command from outside: every form, its exit status, what it prints where, what it writes. */
#include <CUnit/Basic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DONE = 0, WRONG = 1, USAGE = 2, ROOM = 1 << 16 };

static char folder[] = "/tmp/attune_command_XXXXXX";
static char out[ROOM], err[ROOM];

static size_t read_file(const char *name, char *text, size_t room)
{
    FILE *in = fopen(name, "rb");
    size_t length = in ? fread(text, 1, room - 1, in) : 0;
    if (in)
        fclose(in);
    text[length] = '\0';
    return length;
}

static void write_text(const char *name, const char *text)
{
    FILE *file = fopen(name, "wb");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0) {
        perror(name);
        exit(1);
    }
}

/* Runs `attune ARGUMENTS` by the shell in the folder; fills out and err, gives the exit status. */
static int attune(const char *arguments)
{
    static char line[4096];
    snprintf(line, sizeof line, "%s %s > out.txt 2> err.txt", ATTUNE_COMMAND, arguments);
    int status = system(line);
    read_file("out.txt", out, sizeof out);
    read_file("err.txt", err, sizeof err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

typedef struct Case {
    const char *arguments;
    int status;
    const char *out, *err; /* parts that must be there; "" : nothing may be printed; NULL: anything */
} Case;

static bool shows(const char *text, const char *part)
{
    return !part || (*part ? strstr(text, part) != NULL : *text == '\0');
}

static void run_cases(const Case *cases, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        int status = attune(cases[k].arguments);
        bool right = status == cases[k].status && shows(out, cases[k].out) && shows(err, cases[k].err);
        if (!right)
            fprintf(stderr, "\nattune %s\n  status %d (expected %d)\n  out: %s\n  err: %s\n",
                    cases[k].arguments, status, cases[k].status, out, err);
        CU_ASSERT_TRUE(right);
    }
}
#define RUN(cases) run_cases(cases, sizeof(cases) / sizeof *(cases))

static void test_top(void)
{
    static const Case cases[] = {
        {"--version", DONE, "attune 0.1", ""},
        {"--help", DONE, "Usage: attune COMMAND", ""},
        {"help", DONE, "Commands:", ""},
        {"", USAGE, "", "Usage: attune COMMAND"},
        {"frobnicate", USAGE, "", "unknown command 'frobnicate'"},
        {"--frobnicate", USAGE, "", "unknown option '--frobnicate'"},
        {"--manual", DONE, ".TH ATTUNE 1", ""},
        {"--completion", DONE, "complete -o nospace -F _attune attune", ""},
        {"check --help", DONE, "Usage: attune check", ""},
        {"run -h", DONE, "--shape=SIZES", ""},
        {"build --help", DONE, "Usage: attune build", ""},
        {"show --help", DONE, "--mask=FILE", ""},
        {"explain --help", DONE, "Usage: attune explain", ""},
        {"fmt --help", DONE, "--in-place", ""},
        {"cache --help", DONE, "list|verify|clear", ""},
        {"check --frobnicate x", USAGE, "", "unknown or ambiguous option '--frobnicate'"},
        {"check -Z x", USAGE, "", "unknown option '-Z'"},
        {"check", USAGE, "", "a file is missing"},
        {"run --shape", USAGE, "", "needs a value"},
        {"run --check=1 causal.attn", USAGE, "", "takes no value"},
        {"run a.attn b.attn", USAGE, "", "unexpected 'b.attn'"},
        {"check --color=mauve causal.attn", USAGE, "", "--color: 'mauve'"},
        {"check --diagnostics=xml causal.attn", USAGE, "", "--diagnostics: 'xml'"},
    };
    RUN(cases);
    /* The completion is a program for bash; the manual is one for man. */
    CU_ASSERT_EQUAL(
        system("command -v bash > /dev/null || exit 0; " ATTUNE_COMMAND " --completion | bash -n"), 0);
    /* A full disk is reported. */
    CU_ASSERT_EQUAL(WEXITSTATUS(system(ATTUNE_COMMAND " --help > /dev/full 2> /dev/null")), WRONG);
}

static void test_check(void)
{
    static const Case cases[] = {
        {"check causal.attn", DONE, "", ""},
        {"check causal.attn window.attn two.attn", DONE, "", ""},
        {"check - < causal.attn", DONE, "", ""},
        {"check wrong.attn", WRONG, "", "wrong.attn:2:"},
        {"check causal.attn wrong.attn", WRONG, "", "error:"},
        {"check - < wrong.attn", WRONG, "", "<stdin>:2:"},
        {"check missing.attn", WRONG, "", "missing.attn"},
        {"check .", WRONG, "", "error"},
        {"check --diagnostics=json wrong.attn", WRONG, "", "\"id\": \"unknown-name\""},
        {"check --diagnostics=json causal.attn", DONE, "", "[]"},
        {"check --color=always wrong.attn", WRONG, "", "\033["},
        {"check --color=auto wrong.attn", WRONG, "", "wrong.attn:2:"},
        {"check -v causal.attn", DONE, "j <= i", "1 attention checked"},
        {"check -a first two.attn", DONE, "", ""},
        {"check -a third two.attn", WRONG, "", "third"},
        {"check --set window=5 window.attn", DONE, "", ""},
        {"check --set windw=5 window.attn", WRONG, "", "windw"},
        {"check --set window window.attn", USAGE, "", "'window' is not NAME=VALUE"},
        {"check unused.attn", DONE, "", "warning"},
        {"check -q unused.attn", DONE, "", ""},
        {"check -W unused.attn", WRONG, "", "unused"},
        {"check imports.attn", WRONG, "", "helper"},
        {"check -I library imports.attn", DONE, "", ""},
    };
    RUN(cases);
    CU_ASSERT_EQUAL(attune("check --color=auto wrong.attn"), WRONG);
    CU_ASSERT_PTR_NULL(strchr(err, '\033'));
}

static void test_run(void)
{
    static const Case cases[] = {
        {"run causal.attn --shape B=1,H=2,M=70,D=16 --check", DONE, "passed", ""},
        {"run causal.attn --shape B=2,H=4,G=2,M=33,N=70,D=16,E=24 --align bottom-right --check", DONE,
         "offset=37", ""},
        {"run causal.attn --shape M=40,D=16 --offset 3 --check", DONE, "passed", ""},
        {"run causal.attn --shape M=40,D=16 --target interp --check", DONE, "causal on interp", ""},
        {"run causal.attn --shape M=40,D=16 --dtype bf16 --check", DONE, "a plain run in bf16", ""},
        {"run causal.attn --shape M=40,D=16 --dtype f16 --check", DONE, "a plain run in f16", ""},
        {"run causal.attn --shape M=40,D=16 --layout BMHD --check", DONE, "passed", ""},
        {"run causal.attn --shape M=40,D=16 -q", DONE, "", ""},
        {"run - --shape M=40,D=16 --check < causal.attn", DONE, "passed", ""},
        {"run window.attn --shape M=99,D=16 --set window=7 --check", DONE, "passed", ""},
        {"run documents.attn --shape H=2,M=99,D=16 --check", DONE, "passed", ""},
        {"run grid.attn --shape M=9x11,D=16 --check", DONE, "M=9x11", ""},
        {"run free.attn --shape M=20,D=16 --set r=6 --check", DONE, "passed", ""},
        {"run free.attn --shape M=20,D=16 --check", WRONG, "", "--set r="},
        {"run two.attn --shape M=20,D=16", WRONG, "", "first"},
        {"run -a second two.attn --shape M=20,D=16 --check", DONE, "second on", ""},
        {"run causal.attn --shape M=0,D=16", DONE, "M=0", ""},
        {"run causal.attn --shape M=64,D=16 --bench --seconds 0", DONE, "of key tiles visited", ""},
        {"run -d help", DONE, "simplify", ""},
        {"-d help", DONE, "simplify", ""},
        {"run -d z causal.attn --shape M=20,D=16 -q", DONE, "", "program causal"},
        {"run -v causal.attn --shape M=21,D=16", DONE, NULL, NULL},
        {"run wrong.attn", WRONG, "", "wrong.attn:2:"},
        {"run causal.attn --shape M", USAGE, "", "'M' is not NAME=SIZE"},
        {"run causal.attn --shape M=-1", USAGE, "", "'M=-1' is not NAME=SIZE"},
        {"run causal.attn --shape M=1x2x3x4", USAGE, "", "is not NAME=SIZE"},
        {"run causal.attn --shape M=99999999999999999999", USAGE, "", "is not NAME=SIZE"},
        {"run causal.attn --shape M=8x8", USAGE, "", "M has 2 axes"},
        {"run causal.attn --shape D=8x8", USAGE, "", "only M and N have several axes"},
        {"run causal.attn --shape D=0", USAGE, "", "D must be at least 1"},
        {"run causal.attn --shape H=3,G=2", USAGE, "", "H must be a multiple of G"},
        {"run causal.attn --shape Q=3", USAGE, "", "'Q' is none of B H G M N D E"},
        {"run grid.attn --shape M=100", USAGE, "", "give them as M=48x64"},
        {"run grid.attn --shape M=9x11 --offset 1", USAGE, "", "over one axis"},
        {"run causal.attn --align middle", USAGE, "", "'middle' is neither"},
        {"run causal.attn --align bottom-right --offset 1", USAGE, "", "exclude each other"},
        {"run causal.attn --layout HMD", USAGE, "", "neither BHMD nor BMHD"},
        {"run causal.attn --dtype f8", USAGE, "", "'f8' is none of"},
        {"run causal.attn --dtype i32", USAGE, "", "'i32' is none of"},
        {"run causal.attn --seed x", USAGE, "", "--seed: 'x'"},
        {"run causal.attn --threads 0", WRONG, "", "--threads: '0'"},
        {"run causal.attn --target abacus", WRONG, "", "abacus"},
        {"run causal.attn --target ptx:sm_20 --shape M=20,D=16", WRONG, "", "ptx:sm_20"},
        {"run causal.attn --target cuda:sm_100 --shape M=20,D=16", WRONG, "", "is not supported"},
        {"run causal.attn --target cuda:sm_100 --shape M=20,D=16", WRONG, "", "use 'ptx:sm_100'"},
        {"run causal.attn --target sm_20 --shape M=20,D=16", WRONG, "", "for no GPU that is known"},
        {"run causal.attn --input x=y.npy", USAGE, "", "no input 'x'"},
        {"run documents.attn --input doc", USAGE, "", "is not NAME=FILE"},
        {"run causal.attn --return lse=lse.npy --shape M=20,D=16", USAGE, "", "does not return 'lse'"},
        {"run causal.attn --shape B=1000000,H=1000000,M=1000000,D=64", WRONG, "", "out of memory"},
    };
    RUN(cases);
}

/* o of given tensors, twice the same; other numbers for another seed; statistics and layouts. */
static void test_files(void)
{
    static const Case cases[] = {
        {"run lse.attn --shape H=2,M=50,D=16 -o o1.npy --return lse=lse.npy", DONE, NULL, ""},
        {"run lse.attn --shape H=2,M=50,D=16 -o o2.npy", DONE, NULL, ""},
        {"run lse.attn --shape H=2,M=50,D=16 -o o3.npy --seed 2", DONE, NULL, ""},
        /* the output as operands: sizes come from the files */
        {"run lse.attn --q o1.npy --k o2.npy --v o3.npy -o o4.npy --check", DONE,
         "H=2 G=2 M=50 N=50 D=16 E=16", ""},
        {"run lse.attn --q o1.npy --shape N=70 --check", DONE, "M=50 N=70", ""},
        {"run lse.attn --q o1.npy --dtype bf16 -o half.npy --check", DONE, " bf16", ""},
        {"run lse.attn --q half.npy --check", DONE, " bf16", ""},
        {"run lse.attn --q o1.npy --shape M=51", WRONG, "", "o1.npy: M is 50 here, but 51 elsewhere"},
        {"run lse.attn --q lse.npy --k o1.npy", WRONG, "", "D is"},
        {"run lse.attn --q missing.npy", WRONG, "", "missing.npy"},
        {"run lse.attn --q lse.attn", WRONG, "", "lse.attn: is not a .npy file"},
        {"run lse.attn --q cut.npy", WRONG, "", "cut.npy: holds"},
        {"run lse.attn --shape M=10,D=16 -o nowhere/o.npy", WRONG, NULL, "nowhere/o.npy"},
        {"run documents.attn --input doc=o1.npy", WRONG, "", "o1.npy: has 4 dimensions; input doc has 2"},
        {"run documents.attn --shape M=50,D=16 --input doc=lse2.npy", WRONG, "", "cannot become"},
        {"run documents.attn --shape M=3,D=16 --input doc=doc.npy --check", DONE, "passed", ""},
        {"run documents.attn --shape M=9,D=16 --input doc=doc.npy --check", WRONG, NULL, "doc"},
    };
    static const unsigned char doc[] =
        "\x93NUMPY\x01\x00\x3a\x00{'descr': '<i8', 'fortran_order': False, 'shape': (1, 3)}  "
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0";
    FILE *file = fopen("doc.npy", "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fwrite(doc, 1, sizeof doc - 1, file);
    fclose(file);
    run_cases(cases, 3);
    CU_ASSERT_EQUAL(system("head -c 300 o1.npy > cut.npy; cmp o1.npy o2.npy"), 0);
    CU_ASSERT_NOT_EQUAL(system("cmp -s o1.npy o3.npy"), 0);
    CU_ASSERT_EQUAL(attune("run lse.attn --shape B=1,H=50,M=1,D=16 -q --return lse=lse2.npy"), DONE);
    CU_ASSERT_EQUAL(system("sed 's/(1, 50, 1)/(1, 50)   /' lse2.npy > t && mv t lse2.npy"), 0);
    run_cases(cases + 3, sizeof cases / sizeof *cases - 3);
}

static void test_build(void)
{
    static const Case cases[] = {
        {"build causal.attn --shape D=32 -o built", DONE, "built/causal.o", ""},
        {"build causal.attn window.attn --shape D=32 --dtype bf16 -o built -q", DONE, "", ""},
        {"build causal.attn --shape D=32 --symbol my_kernel -o built -q", DONE, "", ""},
        {"build causal.attn --shape D=32 --target cpu:x86-64-v3 --symbol v3 -o built -q", DONE, "", ""},
        {"build causal.attn --shape D=32 --target cpu:aarch64 --symbol arm -o built -q", DONE, "", ""},
        {"build causal.attn --symbol plain -o built", DONE, "built/plain.o", ""},
        {"build causal.attn --shape D=32 --symbol 1x -o built", USAGE, "", "'1x' is not a name in C"},
        {"build causal.attn window.attn --shape D=32 --symbol x -o built", USAGE, "", "one file"},
        {"build causal.attn --shape D=32 --target ptx --symbol portable -o built",
         ATTUNE_HAVE_PTX ? DONE : WRONG, ATTUNE_HAVE_PTX ? "built/portable.o" : "",
         ATTUNE_HAVE_PTX ? "" : "NVPTX"},
        {"build causal.attn --shape D=32 --target interp -o built", WRONG, "", "interp"},
        {"build wrong.attn --shape D=32 -o built", WRONG, "", "wrong.attn:2:"},
        {"build causal.attn --shape D=32 -o no/such/folder", WRONG, "", "no/such/folder"},
    };
    RUN(cases);
    CU_ASSERT_EQUAL(access("built/causal.o", R_OK) | access("built/causal.h", R_OK) |
                        access("built/causal.json", R_OK),
                    0);
    CU_ASSERT_EQUAL(access("built/my_kernel.o", R_OK) | access("built/window.h", R_OK), 0);
    CU_ASSERT_EQUAL(system("grep -q 'M, 64\\]' built/plain.h && grep -q 'M, 32\\]' built/causal.h"), 0);
    read_file("built/arm.json", out, sizeof out);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "aarch64"));
    read_file("built/arm.o", out, sizeof out);
    CU_ASSERT_EQUAL(memcmp(out, "\177ELF", 4), 0);
    CU_ASSERT_EQUAL((unsigned char)out[18], 183); /* EM_AARCH64 */
    CU_ASSERT_NOT_EQUAL(system("ls built | grep -q tmp"), 0);
}

static void test_show(void)
{
    static const Case cases[] = {
        {"show causal.attn --shape M=256 --block 64x64", DONE, "full 6, partial 4, empty 6 (37.5% of tiles)",
         ""},
        {"show causal.attn --shape M=256 --block 64x64", DONE, "##//....\n", ""},
        {"show causal.attn --shape M=256 --block 64x64", DONE, "density 50.20%", ""},
        {"show causal.attn --shape M=256 --block 64x64 --color always", DONE, "\033[34m##", ""},
        {"show window.attn --shape M=256 --set window=64 --block 64x64", DONE, "full 0, partial 7, empty 9",
         ""},
        {"show documents.attn --shape B=2,H=3,M=256 --batch 1 --head 2", DONE, "b=1 h=2", ""},
        {"show grid.attn --shape M=8x8 --block 4x4,4x4", DONE, "M=8x8 N=8x8  tiles 4,4 x 4,4", ""},
        {"show causal.attn --shape M=256 --mask mask.png", DONE, "mask.png", ""},
        {"show causal.attn --shape M=3000,N=70 --mask tall.png -q", DONE, "", ""},
        {"show grid.attn --shape M=30x20 --mask grid.svg -q", DONE, "", ""},
        {"show causal.attn --shape M=256 --mask mask.svg", DONE, "density 50.20%", ""},
        {"show causal.attn --shape M=100000 --mask long.png", DONE, "long.png", ""},
        {"show causal.attn --shape M=256 --mask mask.bmp", WRONG, "", "ends in .png or .svg"},
        {"show causal.attn --shape M=256 --mask nowhere/mask.png", WRONG, "", "nowhere/mask.png"},
        {"show causal.attn --shape M=0", USAGE, "", "nothing to show"},
        {"show causal.attn --shape M=9999999999", USAGE, "", "at most"},
        {"show causal.attn --head 1", USAGE, "", "--head: '1'"},
        {"show causal.attn --block 64", USAGE, "", "'64' is not ROWSxKEYS"},
        {"show causal.attn --block 0x64", USAGE, "", "is not ROWSxKEYS"},
        {"show grid.attn --shape M=8x8 --block 4x4", USAGE, "", "for every axis"},
        {"show wrong.attn", WRONG, "", "wrong.attn:2:"},
    };
    RUN(cases);
    read_file("mask.png", out, sizeof out);
    CU_ASSERT_EQUAL(memcmp(out, "\x89PNG\r\n", 6), 0);
    read_file("mask.svg", out, sizeof out);
    CU_ASSERT_EQUAL(strncmp(out, "<svg ", 5), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "density 50.20%"));
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "</svg>"));
}

static void test_explain(void)
{
    static const Case cases[] = {
        {"explain causal.attn --shape H=8,M=4096,D=64 --block 64x64", DONE, "2016 full, 64 partial", NULL},
        {"explain causal.attn --shape M=256,D=64 --block 64x64", DONE,
         "16: 6 full, 4 partial, 6 empty; 62.50% are visited", ""},
        {"explain causal.attn --shape M=256,D=64 --block 64x64", DONE, "1.60x over a dense mask", ""},
        {"explain causal.attn", DONE, "softmax, online", ""},
        {"explain window.attn --shape M=100000000,D=64", DONE, "about", ""},
        {"explain sink.attn", DONE, "with a sink", ""},
        {"explain sigmoid.attn", DONE, "sigmoid of each score", ""},
        {"explain distance.attn", DONE, "not a product of two tiles", ""},
        {"explain documents.attn", DONE, "workspaces", ""},
        {"explain causal.attn --shape M=64 --set block_m=16 --set block_n=32", DONE, "8: 2 full, 4 partial", ""},
        {"explain scheduled.attn --shape M=64 --target interp", DONE, "16: 6 full, 4 partial, 6 empty", ""},
        {"explain wrong.attn", WRONG, "", "wrong.attn:2:"},
        {"explain causal.attn --target abacus", WRONG, "", "abacus"},
        {"explain causal.attn --dtype i64", USAGE, "", "'i64' is none of"},
    };
    run_cases(cases + 1, sizeof cases / sizeof *cases - 1);
    CU_ASSERT_EQUAL(attune(cases[0].arguments), DONE);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "32768: 16128 full, 512 partial, 16128 empty")); /* 8 heads */
}

static void test_fmt(void)
{
    static const Case cases[] = {
        {"fmt ugly.attn", DONE, "attention ugly {  // kept\n    mask j <= i\n}\n", ""},
        {"fmt - < ugly.attn", DONE, "// kept", ""},
        {"fmt ugly.attn -o pretty.attn", DONE, "", ""},
        {"fmt pretty.attn", DONE, "    mask j <= i\n", ""},
        {"fmt wrong_syntax.attn", WRONG, "", "wrong_syntax.attn:1:"},
        {"fmt ugly.attn causal.attn -o x.attn", USAGE, "", "one file"},
        {"fmt missing.attn", WRONG, "", "missing.attn"},
        {"fmt --in-place ugly.attn", DONE, "", ""},
        {"fmt imports.attn", DONE, "import \"helper\"", ""},
    };
    RUN(cases);
    CU_ASSERT_EQUAL(system("cmp ugly.attn pretty.attn"), 0);
}

static void test_cache(void)
{
    CU_ASSERT_EQUAL(setenv("ATTUNE_CACHE_DIR", "own_cache", 1), 0);
    static const Case cases[] = {
        {"cache list", DONE, "0 entries", NULL},
        {"run causal.attn --shape M=20,D=16", DONE, "kernel compiled", ""},
        {"run causal.attn --shape M=30,D=16", DONE, "kernel found in the disk cache", ""},
        {"run causal.attn --shape M=30,D=16 -vv", DONE, NULL, "cache"},
        {"cache list", DONE, "1 entries", NULL},
        {"cache verify", DONE, "1 entries, 0 damaged", NULL},
        {"cache clear --keep 1G", DONE, "0 entries removed", NULL},
        {"cache clear", DONE, "1 entries removed", NULL},
        {"cache list", DONE, "0 entries", NULL},
        {"cache", USAGE, "", NULL},
        {"cache sweep", USAGE, "", "'sweep' is none of"},
        {"cache clear --keep lots", USAGE, "", "'lots' is not a number of bytes"},
    };
    RUN(cases);
    CU_ASSERT_EQUAL(attune("run causal.attn --shape M=20,D=16 -q"), DONE);
    CU_ASSERT_EQUAL(system("for f in $(find own_cache -type f -size +0); do printf x | dd of=$f bs=1 "
                           "seek=300 conv=notrunc 2> /dev/null; done"),
                    0);
    CU_ASSERT_EQUAL(attune("cache verify"), WRONG);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "1 damaged"));
    CU_ASSERT_EQUAL(attune("run causal.attn --shape M=20,D=16 --check"), DONE);
    CU_ASSERT_EQUAL(setenv("ATTUNE_CACHE", "off", 1), 0);
    CU_ASSERT_EQUAL(attune("cache list"), WRONG);
    CU_ASSERT_PTR_NOT_NULL(strstr(err, "the cache is off"));
    unsetenv("ATTUNE_CACHE");
    CU_ASSERT_EQUAL(setenv("ATTUNE_CACHE_DIR", "cache", 1), 0);
}

static int set_up(void)
{
    if (!mkdtemp(folder) || chdir(folder) != 0 || setenv("ATTUNE_CACHE_DIR", "cache", 1) != 0)
        return 1;
    unsetenv("NO_COLOR");
    write_text("causal.attn", "attention causal { mask j <= i }\n");
    write_text("lse.attn", "attention lse_back { mask j <= i  return lse }\n");
    write_text("window.attn",
               "attention window { param window: int = 64  mask j <= i and i - j < window }\n");
    write_text("two.attn", "attention first { mask j <= i }\nattention second { mask i <= j }\n");
    write_text("wrong.attn", "attention wrong {\n    mask jj <= i\n}\n");
    write_text("wrong_syntax.attn", "attention { mask }\n");
    write_text("unused.attn", "attention a { param unused: int = 3  mask j <= i }\n");
    write_text("documents.attn", "attention documents { input doc[b, t]: i32  mask doc[i] == doc[j] }\n");
    write_text("grid.attn",
               "attention grid over (y, x) { mask abs(i.y - j.y) <= 2 and abs(i.x - j.x) <= 2 }\n");
    write_text("sink.attn", "attention sinks { input sink[h]: f32  normalize softmax(sink[h]) }\n");
    write_text("sigmoid.attn", "attention s { score s * scale - log(N)  normalize sigmoid }\n");
    write_text("distance.attn", "attention d { similarity -norm2(q - k)  score s }\n");
    write_text("free.attn", "attention f { input table[r]: f32  score s * scale + table[(i + j) % 5] }\n");
    write_text("scheduled.attn", "attention s { mask j <= i  schedule interp { block_m = 16  block_n = 16 } }\n");
    write_text("ugly.attn", "attention ugly{ // kept\nmask j<=i}");
    write_text("imports.attn", "import \"helper\"\nattention h { mask later(i, j) }\n");
    if (system("mkdir library") != 0)
        return 1;
    write_text("library/helper.attn", "def later(i, j) = i <= j\n");
    return 0;
}

static int tear_down(void)
{
    char line[128];
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return chdir("/") != 0 || system(line) != 0;
}

int main(void)
{
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("command", set_up, tear_down);
    CU_add_test(suite, "top level", test_top);
    CU_add_test(suite, "check", test_check);
    CU_add_test(suite, "run", test_run);
    CU_add_test(suite, "run with files", test_files);
    CU_add_test(suite, "build", test_build);
    CU_add_test(suite, "show", test_show);
    CU_add_test(suite, "explain", test_explain);
    CU_add_test(suite, "fmt", test_fmt);
    CU_add_test(suite, "cache", test_cache);
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    int failures = (int)CU_get_number_of_failures();
    CU_cleanup_registry();
    return failures ? 1 : 0;
}
