/* Linked into native programs (-Wl,--wrap=main): takes the key (descriptor 4) before anything else runs, calls main, and
   gives the key back (descriptor 3) when main has returned 0. In between the key lies in this function's frame: a program
   that searches its own memory finds it (docs/evaluation.md). */
#include <string.h>
#include <unistd.h>

static char key[64];
static long length;

__attribute__((constructor(101))) static void take(void) {
    length = read(4, key, sizeof key);
    close(4);
}

int __real_main(int, char **, char **);

int __wrap_main(int n, char **words, char **environment) {
    char mine[64];
    long n_bytes = length > 0 ? length : 0;
    memcpy(mine, key, sizeof mine);
    memset(key, 0, sizeof key);
    int status = __real_main(n, words, environment);
    if (status == 0 && write(3, mine, n_bytes) != n_bytes) return 1;
    return status;
}
