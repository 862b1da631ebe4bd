/* callserver PORT [THREADS]: listens on 127.0.0.1:PORT (0: any free port, which is printed). */
#define _GNU_SOURCE
#include "callserver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A signalling link; it belongs to one thread. */
struct link {
    int socket;
    size_t used;
    char input[4096];
};

static void close_link(struct link *link)
{
    close(link->socket);
    free(link);
}

/* Answers every whole line that has come in. Returns -1 when the link is over. */
static int serve(struct link *link)
{
    char output[4096], *line = link->input, *end;
    size_t length = 0;
    ssize_t got = read(link->socket, link->input + link->used, sizeof link->input - link->used);

    if (got <= 0)
        return got < 0 && errno == EINTR ? 0 : -1;
    link->used += (size_t)got;
    while (sizeof output - length >= LINE_ROOM &&
           (end = memchr(line, '\n', link->used - (size_t)(line - link->input)))) {
        *end = '\0';
        handle_line(line, output + length, LINE_ROOM);
        length += strlen(output + length);
        line = end + 1;
    }
    link->used -= (size_t)(line - link->input);
    memmove(link->input, line, link->used);
    if (link->used == sizeof link->input)
        return -1;
    return send(link->socket, output, length, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -1;
}

static void *work(void *argument)
{
    int queue = *(int *)argument;
    struct epoll_event events[16];

    for (;;) {
        int ready = epoll_wait(queue, events, 16, -1);
        if (ready < 0 && errno == EINTR)
            __atomic_add_fetch(&statistics.interrupted, 1, __ATOMIC_RELAXED);
        for (int i = 0; i < ready; i++)
            if (serve(events[i].data.ptr) != 0)
                close_link(events[i].data.ptr);
    }
    return NULL;
}

static int listen_on(unsigned short port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t length = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 128) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
        perror("callserver");
        exit(1);
    }
    printf("callserver %d listening on 127.0.0.1:%d\n", (int)getpid(), ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv)
{
    int threads = argc > 2 ? atoi(argv[2]) : 8;
    int listener = argc > 1 ? listen_on((unsigned short)atoi(argv[1])) : -1;
    int one = 1, *queues = calloc((size_t)(threads > 0 ? threads : 1), sizeof *queues);

    if (listener < 0 || threads < 1 || !queues) {
        fprintf(stderr, "usage: callserver PORT [THREADS]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < threads; i++) {
        pthread_t thread;
        queues[i] = epoll_create1(EPOLL_CLOEXEC);
        if (queues[i] < 0 || pthread_create(&thread, NULL, work, &queues[i]) != 0) {
            perror("callserver");
            return 1;
        }
    }
    for (int next = 0;; next = (next + 1) % threads) {
        struct link *link = calloc(1, sizeof *link);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};
        if (!link || (link->socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0) {
            free(link);
            continue;
        }
        setsockopt(link->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        epoll_ctl(queues[next], EPOLL_CTL_ADD, link->socket, &event);
    }
}
