/// A unit with what compilers make of C: tables, literals, constants of all widths, halves, thread-locals.
let mutationSubject = """
    typedef unsigned long size_t;
    int puts(const char *), printf(const char *, ...), rand(void), use(const void *, ...);
    void *malloc(size_t); void abort(void); void free(void *); int strcmp(const char *, const char *);
    extern int outside, elsewhere[8];
    typedef float four __attribute__((vector_size(16)));
    struct node { int value; const char *name; const struct node *next; int (*act)(int); };

    static int counter = 7, unset; int level = 3; long totals[6] = {1, 2, 3, 4, 5, 6};
    static const int primes[] = {2, 3, 5, 7, 11, 13, 17, 19};
    static const double weights[] = {0.5, 1.25, 2.75, 3.5};
    const unsigned char classes[32] = {1, 2, 4, 8, 16, 32, 64, 128, 3, 5, 9, 17};
    static __thread int depth = 11; __thread long mine[3] = {1, 2, 3}; static __thread int fresh;
    static const char *const words[] = {"alpha", "beta", "gamma", "delta", "epsilon"};
    static char buffer[24] = "initial";

    __attribute__((noinline)) int twice(int x) { return rand() + x * 2; }
    __attribute__((noinline)) int thrice(int x) { return rand() + x * 3; }
    __attribute__((noinline)) static int negate(int x) { return unset - x; }
    static const struct node second = {22, "second", 0, thrice};
    static const struct node first = {11, "first", &second, twice};
    static int (*const actions[])(int) = {twice, thrice, negate, twice};
    int (*handler)(int) = thrice;

    int choose(int x) {
        switch (x) {
        case 0: return puts("zero"); case 1: return puts("one"); case 2: return use(words);
        case 3: return twice(3); case 4: return thrice(4); case 5: return elsewhere[2]; case 6: return outside;
        case 7: return rand(); case 9: return negate(x);
        }
        return -1;
    }
    int weigh(int i, double x) { return (int)(weights[i & 3] * 3.25 + x / 7.5) + primes[i & 7]; }
    float scale(float x) { return x * 1.75f + 0.3f; }
    long double wide(long double x) { return x * 3.14159265358979323846L + 1.0e300L; }
    four mix(four a) { return a * (four){1.5f, 2.5f, 3.5f, 4.5f} + (four){9, 8, 7, 6}; }
    double flip(double x) { return x < 0 ? -x : x; }
    int *slot(int i) { return &elsewhere[i + 3]; }
    const char *middle(void) { return "head and tail" + 9; }
    int walk(const struct node *n) {
        int sum = first.value;
        for (; n; n = n->next) { sum += n->act(n->value); if (!strcmp(n->name, "second")) sum ^= 5; }
        return sum + second.value;
    }
    int run(const unsigned char *code) {
        static const void *const labels[] = {&&add, &&sub, &&mul, &&end};
        int acc = counter;
        goto *labels[*code++];
    add: acc += 17; goto *labels[*code++];
    sub: acc -= level; goto *labels[*code++];
    mul: acc = twice(acc) * 3; goto *labels[*code++];
    end: return acc;
    }
    int checked(int x) {
        static int calls; static int last = 41;
        if (__builtin_expect(x > 1000, 0)) { printf("out of range: %d after %d\\n", x, last); abort(); }
        calls++; last = x;
        return calls + classes[x & 31] + buffer[x & 7];
    }
    int locals(int x) { depth += x; mine[1] += depth; fresh--; return (int)mine[x & 1] + fresh; }
    int dispatch(int i, int x) { return actions[i & 3](x) + handler(x + 1); }
    int several(int x) { int a = twice(x), b = thrice(a), c = negate(b); use(&counter, &level, totals); return a + b * c; }
    void *make(size_t n) {
        void **p = malloc(n * 8 + 24);
        if (!p) { puts("no memory for it"); return 0; }
        for (size_t i = 0; i < n; i++) p[i] = &totals[i % 6];
        use(p, "made", n); free(p[0] == p ? p : 0);
        return p;
    }
    int wordy(int i) { return puts(words[i % 5]) + puts("wordy") + use("%s, %d", words[2], i); }
    long sums(const int *p, int n) { long s = 0; for (int i = 0; i < n; i++) s += p[i] * primes[i & 7]; return s; }
    int again(int x) { static int calls; calls += x; return calls * 5 + choose(calls); }
    """
