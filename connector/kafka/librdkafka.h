/* The part of librdkafka's interface (its rdkafka.h) that the native producer uses, to be found in the
 * shared library at run time: no header of it is needed to build, and no particular version to run.
 */
#pragma once

#include <dlfcn.h>
#include <string.h>
#include <stdlib.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

typedef struct rd_kafka_s rd_kafka_t;
typedef struct rd_kafka_conf_s rd_kafka_conf_t;
typedef struct rd_kafka_topic_s rd_kafka_topic_t;
typedef struct rd_kafka_queue_s rd_kafka_queue_t;
typedef struct rd_kafka_headers_s rd_kafka_headers_t;
typedef struct rd_kafka_error_s rd_kafka_error_t;

typedef struct {
    int err;
    rd_kafka_topic_t *rkt;
    int32_t partition;
    void *payload;
    size_t len;
    void *key;
    size_t key_len;
    int64_t offset;
    void *_private;
} rd_kafka_message_t;

typedef struct {
    int vtype;
    union {
        rd_kafka_topic_t *rkt;
        int i;
        int64_t i64;
        struct { const void *ptr; size_t size; } mem;
        rd_kafka_headers_t *headers;
        void *ptr;
        char padding[64]; /* rdkafka.h has it for fields to come: `produceva` reads an array of these */
    } u;
} rd_kafka_vu_t;

/* rd_kafka_vtype_t; between them are TOPIC, PARTITION and HEADER, which are not used */
enum { VTYPE_RKT = 2, VTYPE_VALUE = 4, VTYPE_KEY, VTYPE_OPAQUE, VTYPE_MSGFLAGS,
       VTYPE_TIMESTAMP, VTYPE_HEADERS = 10 };

typedef struct {
    int (*version)(void);
    const char *(*version_str)(void);
    const char *(*err2str)(int);
    int (*last_error)(void);
    int (*fatal_error)(rd_kafka_t *, char *, size_t);
    rd_kafka_conf_t *(*conf_new)(void);
    void (*conf_destroy)(rd_kafka_conf_t *);
    int (*conf_set)(rd_kafka_conf_t *, const char *, const char *, char *, size_t);
    void (*conf_set_opaque)(rd_kafka_conf_t *, void *);
    void (*conf_set_dr_msg_cb)(rd_kafka_conf_t *,
                               void (*)(rd_kafka_t *, const rd_kafka_message_t *, void *));
    void (*conf_set_error_cb)(rd_kafka_conf_t *,
                              void (*)(rd_kafka_t *, int, const char *, void *));
    void (*conf_set_stats_cb)(rd_kafka_conf_t *, int (*)(rd_kafka_t *, char *, size_t, void *));
    void (*conf_set_throttle_cb)(rd_kafka_conf_t *,
                                 void (*)(rd_kafka_t *, const char *, int32_t, int, void *));
    void (*conf_set_log_cb)(rd_kafka_conf_t *,
                            void (*)(const rd_kafka_t *, int, const char *, const char *));
    rd_kafka_t *(*new)(int, rd_kafka_conf_t *, char *, size_t);
    void (*destroy)(rd_kafka_t *);
    const char *(*name)(const rd_kafka_t *);
    void *(*opaque)(const rd_kafka_t *);
    int (*set_log_queue)(rd_kafka_t *, rd_kafka_queue_t *);
    rd_kafka_queue_t *(*queue_get_main)(rd_kafka_t *);
    void (*queue_io_event_enable)(rd_kafka_queue_t *, int, const void *, size_t);
    void (*queue_destroy)(rd_kafka_queue_t *);
    rd_kafka_topic_t *(*topic_new)(rd_kafka_t *, const char *, void *);
    void (*topic_destroy)(rd_kafka_topic_t *);
    const char *(*topic_name)(const rd_kafka_topic_t *);
    rd_kafka_error_t *(*produceva)(rd_kafka_t *, const rd_kafka_vu_t *, size_t);
    int (*error_code)(const rd_kafka_error_t *);
    const char *(*error_string)(const rd_kafka_error_t *);
    int (*error_is_fatal)(const rd_kafka_error_t *);
    void (*error_destroy)(rd_kafka_error_t *);
    int (*poll)(rd_kafka_t *, int);
    int (*flush)(rd_kafka_t *, int);
    int (*purge)(rd_kafka_t *, int);
    rd_kafka_error_t *(*sasl_set_credentials)(rd_kafka_t *, const char *, const char *);
    int (*outq_len)(rd_kafka_t *);
    int64_t (*message_timestamp)(const rd_kafka_message_t *, int *);
    int (*message_headers)(const rd_kafka_message_t *, rd_kafka_headers_t **);
    rd_kafka_headers_t *(*headers_new)(size_t);
    void (*headers_destroy)(rd_kafka_headers_t *);
    int (*header_add)(rd_kafka_headers_t *, const char *, ssize_t, const void *, ssize_t);
    int (*header_get_all)(const rd_kafka_headers_t *, size_t, const char **, const void **,
                          size_t *);
    rd_kafka_headers_t *(*headers_copy)(const rd_kafka_headers_t *);
    int (*conf_interceptor_add_on_new)(rd_kafka_conf_t *, const char *,
                                       int (*)(rd_kafka_t *, const rd_kafka_conf_t *, void *,
                                               char *, size_t),
                                       void *);
    int (*interceptor_add_on_acknowledgement)(rd_kafka_t *, const char *,
                                              int (*)(rd_kafka_t *, rd_kafka_message_t *, void *),
                                              void *);
} functions;

static functions rdkafka;

/* Fills `found`; returns NULL, or what is wrong. The library stays loaded. */
static const char *load_symbols(const char *path, functions *found) {
    const char *wrong;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return (wrong = dlerror()) ? wrong : "it cannot be loaded";
#define SYMBOL(name) \
    if ((*(void **)&found->name = dlsym(library, "rd_kafka_" #name)) == NULL) \
        return "it has no rd_kafka_" #name
    SYMBOL(version); SYMBOL(version_str); SYMBOL(err2str); SYMBOL(last_error);
    SYMBOL(fatal_error); SYMBOL(conf_new); SYMBOL(conf_destroy); SYMBOL(conf_set);
    SYMBOL(conf_set_opaque); SYMBOL(conf_set_dr_msg_cb); SYMBOL(conf_set_error_cb);
    SYMBOL(conf_set_stats_cb); SYMBOL(conf_set_throttle_cb); SYMBOL(conf_set_log_cb);
    SYMBOL(new); SYMBOL(destroy); SYMBOL(name); SYMBOL(opaque); SYMBOL(set_log_queue);
    SYMBOL(queue_get_main); SYMBOL(queue_io_event_enable); SYMBOL(queue_destroy);
    SYMBOL(topic_new); SYMBOL(topic_destroy); SYMBOL(topic_name); SYMBOL(produceva);
    SYMBOL(error_code); SYMBOL(error_string); SYMBOL(error_is_fatal); SYMBOL(error_destroy);
    SYMBOL(poll); SYMBOL(flush); SYMBOL(purge); SYMBOL(sasl_set_credentials); SYMBOL(outq_len); SYMBOL(message_timestamp);
    SYMBOL(message_headers); SYMBOL(headers_new);
    SYMBOL(headers_destroy); SYMBOL(header_add); SYMBOL(header_get_all); SYMBOL(headers_copy);
    SYMBOL(conf_interceptor_add_on_new); SYMBOL(interceptor_add_on_acknowledgement);
#undef SYMBOL
    return NULL;
}

/* Records that librdkafka reports as written although nobody knows where: a success without an offset.
 *
 * A broker answers DUPLICATE_SEQUENCE_NUMBER, which librdkafka takes for a success, both for a batch that
 * it has, whose acknowledgement was lost, and for one that it never had: the first of a client on a
 * partition, refused while the next one was under way and accepted (Kafka's issue 15591). The batch has a
 * negative offset then (-1001 or -1), and librdkafka counts on from it within the batch, to 0, 1, 2 ...
 * Its records are copied here by librdkafka's own threads, before it lets them go, and come back as failed
 * from `poll`.
 */
typedef struct unstored {
    struct unstored *next;
    char *topic;
    int32_t partition;
    int64_t timestamp_ms;
    void *key, *payload;
    size_t key_len, len;
    rd_kafka_headers_t *headers;
    void *record_opaque;
} unstored;

typedef struct {
    pthread_mutex_t lock;
    unstored *first, *last;
    long count; /* of those that `poll` has not seen, atomic */
    int wake;   /* a byte is written there for each; -1 for none */
} unstored_list;

static void *copied(const void *start, size_t size) {
    /* one byte at least: an empty value is not a missing one */
    void *copy = start ? malloc(size ? size : 1) : NULL;
    return copy ? memcpy(copy, start, size) : NULL;
}

static int on_acknowledgement(rd_kafka_t *rk, rd_kafka_message_t *message, void *opaque) {
    unstored_list *list = opaque;
    rd_kafka_headers_t *headers = NULL;
    unstored *one;
    /* of the record before, on this thread: a batch is acknowledged in one go, in order */
    static __thread rd_kafka_topic_t *topic;
    static __thread int32_t partition;
    static __thread int64_t next_offset;
    (void)rk;
    if (message->err)
        return 0;
    if (message->offset >= 0
        && (topic != message->rkt || partition != message->partition || next_offset != message->offset)) {
        topic = NULL;
        return 0;
    }
    topic = message->rkt;
    partition = message->partition;
    next_offset = message->offset + 1;
    if ((one = calloc(1, sizeof(*one))) == NULL)
        return 0;
    one->topic = strdup(rdkafka.topic_name(message->rkt));
    one->partition = message->partition;
    one->timestamp_ms = rdkafka.message_timestamp(message, NULL);
    one->key = copied(message->key, one->key_len = message->key_len);
    one->payload = copied(message->payload, one->len = message->len);
    if (!rdkafka.message_headers(message, &headers))
        one->headers = rdkafka.headers_copy(headers);
    one->record_opaque = message->_private;
    __atomic_add_fetch(&list->count, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&list->lock);
    if (list->last)
        list->last->next = one;
    else
        list->first = one;
    list->last = one;
    pthread_mutex_unlock(&list->lock);
    if (list->wake >= 0 && write(list->wake, "\1", 1) < 0) { /* full: it wakes anyway */ }
    return 0;
}

static int on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *text, size_t size) {
    (void)conf; (void)text; (void)size;
    return rdkafka.interceptor_add_on_acknowledgement(rk, "unstored", on_acknowledgement, opaque);
}

static int watch_unstored(rd_kafka_conf_t *conf, unstored_list *list) {
    return rdkafka.conf_interceptor_add_on_new(conf, "unstored", on_new, list);
}

static void unstored_init(unstored_list *list) {
    memset(list, 0, sizeof(*list));
    pthread_mutex_init(&list->lock, NULL);
    list->wake = -1;
}

static long unstored_count(unstored_list *list) {
    return __atomic_load_n(&list->count, __ATOMIC_SEQ_CST);
}

/* The oldest one, NULL when there is none; `count` still has it until unstored_free. */
static unstored *unstored_pop(unstored_list *list) {
    unstored *one;
    pthread_mutex_lock(&list->lock);
    if ((one = list->first) && !(list->first = one->next))
        list->last = NULL;
    pthread_mutex_unlock(&list->lock);
    return one;
}

static void unstored_free(unstored_list *list, unstored *one) {
    if (one->headers)
        rdkafka.headers_destroy(one->headers);
    free(one->topic);
    free(one->key);
    free(one->payload);
    free(one);
    __atomic_sub_fetch(&list->count, 1, __ATOMIC_SEQ_CST);
}
