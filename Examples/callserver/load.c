/* load PORT CALLS [LINKS]  keeps CALLS calls up over LINKS links (default 4), one thread a link, until SIGTERM or
 *                          SIGINT; then prints what it did. A call that gets a wrong answer or none is a failure.
 * load PORT probe          sets up one call to a number of 16 digits and prints the answer.
 * load PORT stats          prints the server's counters.
 *
 * Under load every hundredth call is such a probe; whenever its answer changes, the new one is printed. */
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { PROBE_EVERY = 100, LINE_ROOM = 256 };

static unsigned short port;
static int calls_per_link;
static volatile sig_atomic_t over;
static unsigned long setups, hangups, probes, failures, changes;
static char answer[LINE_ROOM];
static pthread_mutex_t answer_lock = PTHREAD_MUTEX_INITIALIZER;

static void stop(int signal)
{
    (void)signal;
    over = 1;
}

static void count(unsigned long *counter)
{
    __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

static FILE *connect_link(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = 5};
    int link = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(link, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(link, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("load");
        exit(1);
    }
    return fdopen(link, "r+");
}

/* One request, one reply without its newline; empty when the link is broken. */
static const char *ask(FILE *link, char *reply, const char *request)
{
    reply[0] = '\0';
    if (send(fileno(link), request, strlen(request), MSG_NOSIGNAL) > 0 && fgets(reply, LINE_ROOM, link))
        reply[strcspn(reply, "\n")] = '\0';
    return reply;
}

static void expect(const char *reply, const char *wanted)
{
    if (strcmp(reply, wanted) == 0)
        return;
    count(&failures);
    fprintf(stderr, "failure: got '%s', wanted '%s'\n", reply, wanted);
}

/* What comes after the call's id. */
static const char *without_id(const char *reply)
{
    const char *rest = strchr(reply, ' ');
    rest = rest ? strchr(rest + 1, ' ') : NULL;
    return rest ? rest + 1 : "";
}

/* A call to 16 digits: either answer is right, and it is shown when it changes. */
static const char *probe(FILE *link, unsigned long id, char *reply)
{
    char request[LINE_ROOM], hangup[LINE_ROOM], ignored[LINE_ROOM];

    snprintf(request, sizeof request, "SETUP %lu +46812345 +4930901820012345 4711\n", id);
    ask(link, reply, request);
    count(&probes);
    if (strncmp(reply, "ROUTE", 5) == 0) {
        snprintf(hangup, sizeof hangup, "HANGUP %lu\n", id);
        ask(link, ignored, hangup);
    } else if (strncmp(reply, "REJECT", 6) != 0) {
        expect(reply, "ROUTE or REJECT");
    }
    return reply;
}

static void note_answer(const char *reply)
{
    char seen[LINE_ROOM];

    snprintf(seen, sizeof seen, "%.*s %s", (int)strcspn(reply, " "), reply, without_id(reply));
    pthread_mutex_lock(&answer_lock);
    if (strcmp(seen, answer) != 0) {
        strcpy(answer, seen);
        changes++;
        printf("answer: %s\n", answer);
        fflush(stdout);
    }
    pthread_mutex_unlock(&answer_lock);
}

static void set_up(FILE *link, unsigned long id)
{
    char request[LINE_ROOM], reply[LINE_ROOM], wanted[LINE_ROOM];

    snprintf(request, sizeof request, "SETUP %lu +46812345 +49-30-%07lu 4711\n", id, id % 10000000);
    snprintf(wanted, sizeof wanted, "ROUTE %lu berlin 4930%07lu", id, id % 10000000);
    expect(ask(link, reply, request), wanted);
    snprintf(request, sizeof request, "ANSWER %lu\n", id);
    snprintf(wanted, sizeof wanted, "OK %lu", id);
    expect(ask(link, reply, request), wanted);
    count(&setups);
}

static void hang_up(FILE *link, unsigned long id)
{
    char request[LINE_ROOM], reply[LINE_ROOM], wanted[LINE_ROOM];

    snprintf(request, sizeof request, "HANGUP %lu\n", id);
    int length = snprintf(wanted, sizeof wanted, "OK %lu ", id);
    ask(link, reply, request);
    if (strncmp(reply, wanted, (size_t)length) != 0)
        expect(reply, wanted);
    count(&hangups);
}

static void *keep_calls_up(void *argument)
{
    FILE *link = connect_link();
    unsigned long first = ((unsigned long)(size_t)argument + 1) << 32, oldest = first, next = first;
    char reply[LINE_ROOM];

    while (!over) {
        set_up(link, next++);
        if (next - oldest > (unsigned long)calls_per_link)
            hang_up(link, oldest++);
        if (next % PROBE_EVERY == 0)
            note_answer(probe(link, first | 1ul << 31, reply));
    }
    while (oldest < next)
        hang_up(link, oldest++);
    return NULL;
}

int main(int argc, char **argv)
{
    char reply[LINE_ROOM];
    int calls, links = argc > 3 ? atoi(argv[3]) : 4;

    if (argc < 3 || links < 1 || links > 256) {
        fprintf(stderr, "usage: load PORT CALLS [LINKS] | load PORT probe | load PORT stats\n");
        return 2;
    }
    port = (unsigned short)atoi(argv[1]);
    if (strcmp(argv[2], "probe") == 0) {
        puts(probe(connect_link(), (unsigned long)getpid(), reply));
        return 0;
    }
    if (strcmp(argv[2], "stats") == 0) {
        puts(ask(connect_link(), reply, "STATS 0\n"));
        return 0;
    }
    calls = atoi(argv[2]);
    calls_per_link = calls / links > 0 ? calls / links : 1;
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    pthread_t threads[256];
    for (int i = 0; i < links; i++)
        pthread_create(&threads[i], NULL, keep_calls_up, (void *)(size_t)i);
    for (int i = 0; i < links; i++)
        pthread_join(threads[i], NULL);
    printf("setups=%lu hangups=%lu probes=%lu answers-changed=%lu failures=%lu\n", setups, hangups, probes,
           changes ? changes - 1 : 0, failures);
    return failures != 0;
}
