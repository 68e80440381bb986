# cython: language_level=3
"""librdkafka.h for Cython: librdkafka's types, and its functions as `rdkafka` has them."""

from libc.stdint cimport int32_t, int64_t

cdef extern from "librdkafka.h":
    ctypedef struct rd_kafka_t
    ctypedef struct rd_kafka_conf_t
    ctypedef struct rd_kafka_topic_t
    ctypedef struct rd_kafka_queue_t
    ctypedef struct rd_kafka_headers_t
    ctypedef struct rd_kafka_error_t

    ctypedef struct rd_kafka_message_t:
        int err
        rd_kafka_topic_t *rkt
        int32_t partition
        void *payload
        size_t len
        void *key
        size_t key_len
        void *_private

    ctypedef struct memory "mem":
        const void *ptr
        size_t size

    ctypedef union argument "u":
        rd_kafka_topic_t *rkt
        int i
        int64_t i64
        memory mem
        rd_kafka_headers_t *headers
        void *ptr

    ctypedef struct rd_kafka_vu_t:
        int vtype
        argument u

    int VTYPE_RKT, VTYPE_VALUE, VTYPE_KEY, VTYPE_OPAQUE, VTYPE_MSGFLAGS, VTYPE_TIMESTAMP
    int VTYPE_HEADERS

    ctypedef struct functions:
        int (*version)() noexcept nogil
        const char *(*version_str)() noexcept nogil
        const char *(*err2str)(int) noexcept nogil
        int (*last_error)() noexcept nogil
        int (*fatal_error)(rd_kafka_t *, char *, size_t) noexcept nogil
        rd_kafka_conf_t *(*conf_new)() noexcept nogil
        void (*conf_destroy)(rd_kafka_conf_t *) noexcept nogil
        int (*conf_set)(
            rd_kafka_conf_t *, const char *, const char *, char *, size_t
        ) noexcept nogil
        void (*conf_set_opaque)(rd_kafka_conf_t *, void *) noexcept nogil
        void (*conf_set_dr_msg_cb)(
            rd_kafka_conf_t *, void (*)(rd_kafka_t *, const rd_kafka_message_t *, void *) noexcept
        ) noexcept nogil
        void (*conf_set_error_cb)(
            rd_kafka_conf_t *, void (*)(rd_kafka_t *, int, const char *, void *) noexcept
        ) noexcept nogil
        void (*conf_set_stats_cb)(
            rd_kafka_conf_t *, int (*)(rd_kafka_t *, char *, size_t, void *) noexcept
        ) noexcept nogil
        void (*conf_set_throttle_cb)(
            rd_kafka_conf_t *, void (*)(rd_kafka_t *, const char *, int32_t, int, void *) noexcept
        ) noexcept nogil
        void (*conf_set_log_cb)(
            rd_kafka_conf_t *, void (*)(const rd_kafka_t *, int, const char *, const char *) noexcept
        ) noexcept nogil
        rd_kafka_t *(*make "new")(int, rd_kafka_conf_t *, char *, size_t) noexcept nogil
        void (*destroy)(rd_kafka_t *) noexcept nogil
        const char *(*name)(const rd_kafka_t *) noexcept nogil
        void *(*opaque)(const rd_kafka_t *) noexcept nogil
        int (*set_log_queue)(rd_kafka_t *, rd_kafka_queue_t *) noexcept nogil
        rd_kafka_queue_t *(*queue_get_main)(rd_kafka_t *) noexcept nogil
        void (*queue_io_event_enable)(
            rd_kafka_queue_t *, int, const void *, size_t
        ) noexcept nogil
        void (*queue_destroy)(rd_kafka_queue_t *) noexcept nogil
        rd_kafka_topic_t *(*topic_new)(rd_kafka_t *, const char *, void *) noexcept nogil
        void (*topic_destroy)(rd_kafka_topic_t *) noexcept nogil
        const char *(*topic_name)(const rd_kafka_topic_t *) noexcept nogil
        rd_kafka_error_t *(*produceva)(rd_kafka_t *, const rd_kafka_vu_t *, size_t) noexcept nogil
        int (*error_code)(const rd_kafka_error_t *) noexcept nogil
        const char *(*error_string)(const rd_kafka_error_t *) noexcept nogil
        int (*error_is_fatal)(const rd_kafka_error_t *) noexcept nogil
        void (*error_destroy)(rd_kafka_error_t *) noexcept nogil
        int (*poll)(rd_kafka_t *, int) noexcept nogil
        int (*flush)(rd_kafka_t *, int) noexcept nogil
        int (*purge)(rd_kafka_t *, int) noexcept nogil
        rd_kafka_error_t *(*sasl_set_credentials)(
            rd_kafka_t *, const char *, const char *
        ) noexcept nogil
        int (*outq_len)(rd_kafka_t *) noexcept nogil
        int64_t (*message_timestamp)(const rd_kafka_message_t *, int *) noexcept nogil
        int (*message_headers)(const rd_kafka_message_t *, rd_kafka_headers_t **) noexcept nogil
        rd_kafka_headers_t *(*headers_new)(size_t) noexcept nogil
        void (*headers_destroy)(rd_kafka_headers_t *) noexcept nogil
        int (*header_add)(
            rd_kafka_headers_t *, const char *, ssize_t, const void *, ssize_t
        ) noexcept nogil
        int (*header_get_all)(
            const rd_kafka_headers_t *, size_t, const char **, const void **, size_t *
        ) noexcept nogil

    ctypedef struct unstored:
        char *topic
        int32_t partition
        int64_t timestamp_ms
        void *key
        void *payload
        size_t key_len
        size_t len
        rd_kafka_headers_t *headers
        void *record_opaque

    ctypedef struct unstored_list:
        int wake

    int watch_unstored(rd_kafka_conf_t *, unstored_list *)
    void unstored_init(unstored_list *)
    long unstored_count(unstored_list *)
    unstored *unstored_pop(unstored_list *)
    void unstored_free(unstored_list *, unstored *) noexcept

    functions rdkafka
    const char *load_symbols(const char *, functions *)
    int close(int) nogil
