#!/usr/bin/env bash
# confluent-kafka 2.16.0 (librdkafka 2.16): a consumer that the coordinator refuses for good gets one
# message from poll() whose error has the code _FATAL. Expected: error().fatal() is True, as it is for
# the errors that a producer's calls raise, and the code is the refusal's. Seen: fatal() is False, the
# refusal (here UNSUPPORTED_ASSIGNOR) stands in the text alone, and memberid() has an id all the same,
# although the group never had this member. So neither fatal() nor memberid() tells whether one joined.
# The broker is librdkafka's own mock cluster, out of the same wheel.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.0
"$work/venv/bin/python" - <<'PY'
import ctypes, glob, os, time
import confluent_kafka
from confluent_kafka import Consumer, KafkaError

wheel = os.path.dirname(os.path.dirname(confluent_kafka.__file__))
lib = ctypes.CDLL(glob.glob(f"{wheel}/confluent_kafka.libs/librdkafka-*.so*")[0])
for name, result, arguments in [
    ("rd_kafka_conf_new", ctypes.c_void_p, []),
    ("rd_kafka_new", ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
    ("rd_kafka_mock_cluster_new", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int]),
    ("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, [ctypes.c_void_p]),
    ("rd_kafka_mock_topic_create", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
    ("rd_kafka_mock_push_request_errors_array", None, [ctypes.c_void_p, ctypes.c_short, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)]),
]:
    function = getattr(lib, name)
    function.restype, function.argtypes = result, arguments
owner = lib.rd_kafka_new(0, lib.rd_kafka_conf_new(), None, 0)
cluster = lib.rd_kafka_mock_cluster_new(owner, 1)
lib.rd_kafka_mock_topic_create(cluster, b"ticks", 1, 1)
HEARTBEAT = 68  # ConsumerGroupHeartbeat, KIP-848
code = KafkaError.UNSUPPORTED_ASSIGNOR
lib.rd_kafka_mock_push_request_errors_array(cluster, HEARTBEAT, 1, (ctypes.c_int * 1)(code))

consumer = Consumer({
    "bootstrap.servers": lib.rd_kafka_mock_cluster_bootstraps(cluster).decode(),
    "group.id": "readers", "group.protocol": "consumer", "log_level": 0,
})
consumer.subscribe(["ticks"])
error, end = None, time.monotonic() + 30
while error is None and time.monotonic() < end:
    message = consumer.poll(0.2)
    error = message.error() if message is not None else None
assert error is not None, "no error came"
print("version", confluent_kafka.__version__, "librdkafka", confluent_kafka.libversion()[0])
print("code", error.name(), "fatal()", error.fatal(), "member id", bool(consumer.memberid()))
print("text", error.str())
assert error.code() == KafkaError._FATAL
assert error.fatal() is False, "changed: fatal() tells the truth now"
assert "assignor" in error.str()
assert consumer.memberid(), "changed: a refused consumer has no member id now"
os._exit(0)  # the mock cluster lives in this process; nothing else is to be closed
PY
echo "as described"
