/* The part of librdkafka's interface (its rdkafka.h) that the native producer uses, to be found in the
 * shared library at run time: no header of it is needed to build, and no particular version to run.
 */
#pragma once

#include <dlfcn.h>
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
        char padding[64];
    } u;
} rd_kafka_vu_t;

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
    int (*purge)(rd_kafka_t *, int);
    int (*outq_len)(rd_kafka_t *);
    int64_t (*message_timestamp)(const rd_kafka_message_t *, int *);
    int (*message_headers)(const rd_kafka_message_t *, rd_kafka_headers_t **);
    const char *(*message_produce_errstr)(const rd_kafka_message_t *);
    rd_kafka_headers_t *(*headers_new)(size_t);
    void (*headers_destroy)(rd_kafka_headers_t *);
    int (*header_add)(rd_kafka_headers_t *, const char *, ssize_t, const void *, ssize_t);
    int (*header_get_all)(const rd_kafka_headers_t *, size_t, const char **, const void **,
                          size_t *);
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
    SYMBOL(poll); SYMBOL(purge); SYMBOL(outq_len); SYMBOL(message_timestamp);
    SYMBOL(message_headers); SYMBOL(message_produce_errstr); SYMBOL(headers_new);
    SYMBOL(headers_destroy); SYMBOL(header_add); SYMBOL(header_get_all);
#undef SYMBOL
    return NULL;
}
