/* The session table: every call that is up, by its id. A lock for each bucket lets threads work side by side. */
#include "callserver.h"

#include <stdlib.h>

enum { BUCKETS = 1024 };

static struct bucket {
    pthread_mutex_t lock;
    struct call *calls;
} buckets[BUCKETS] = {[0 ... BUCKETS - 1] = {PTHREAD_MUTEX_INITIALIZER, NULL}};

static unsigned long count;

static struct bucket *bucket_of(unsigned long id)
{
    return &buckets[(id * 0x9e3779b97f4a7c15ul) >> 54];
}

static struct call **find(struct bucket *bucket, unsigned long id)
{
    struct call **link = &bucket->calls;

    while (*link && (*link)->id != id)
        link = &(*link)->next;
    return link;
}

int session_add(const struct call *call)
{
    struct bucket *bucket = bucket_of(call->id);
    struct call *copy = malloc(sizeof *copy);
    int result = -1;

    if (!copy)
        return -1;
    *copy = *call;
    pthread_mutex_lock(&bucket->lock);
    if (!*find(bucket, call->id)) {
        copy->next = bucket->calls;
        bucket->calls = copy;
        __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
        result = 0;
    }
    pthread_mutex_unlock(&bucket->lock);
    if (result)
        free(copy);
    return result;
}

int session_update(unsigned long id, void (*change)(struct call *call))
{
    struct bucket *bucket = bucket_of(id);
    struct call *call;

    pthread_mutex_lock(&bucket->lock);
    call = *find(bucket, id);
    if (call)
        change(call);
    pthread_mutex_unlock(&bucket->lock);
    return call ? 0 : -1;
}

int session_take(unsigned long id, struct call *call)
{
    struct bucket *bucket = bucket_of(id);
    struct call **link, *found;

    pthread_mutex_lock(&bucket->lock);
    link = find(bucket, id);
    found = *link;
    if (found) {
        *link = found->next;
        __atomic_sub_fetch(&count, 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&bucket->lock);
    if (!found)
        return -1;
    *call = *found;
    free(found);
    return 0;
}

unsigned long session_count(void)
{
    return __atomic_load_n(&count, __ATOMIC_RELAXED);
}
