# SPDX-License-Identifier: Apache-2.0
"""The messages of running-process v1 as tables: number -> (field, kind) (reference section 4).

Kinds: u32, u64, bool, enum, string, bytes, map (string to string), "message NAME", and
"repeated KIND" or "optional KIND" (present or None).
"""

REQUEST, RESPONSE, EVENT, CANCEL = range(4)
KINDS = ("REQUEST", "RESPONSE", "EVENT", "CANCEL")
ENCODINGS = ("NONE", "ZSTD", "SNAPPY", "LZ4")

CONTROL, ADMIN, PROBE, HANDOFF, SESSION = 0x0000, 0xAD01, 0xB232, 0xD0FF, 0x5350
TEST_LANE = 0xF415  # the private-use lane of the test backends

CAP_HANDLE_PASSING = 1
TOKEN_BYTES = 16

ERROR_CODES = (
    "ERROR_UNSPECIFIED", "ERROR_VERSION_UNSUPPORTED", "ERROR_SERVICE_UNKNOWN", "ERROR_BACKEND_SPAWN_FAILED",
    "ERROR_RATE_LIMITED", "ERROR_SHUTTING_DOWN", "ERROR_PEER_REJECTED", "ERROR_INTERNAL",
    "ERROR_VERSION_BLOCKED", "ERROR_FD_PRESSURE",
)

VERBS = {
    "unspecified": 0, "status": 1, "dump": 2, "list-instances": 3, "healthz": 4, "readyz": 5,
    "backend-health": 6, "config": 7, "diagnose": 8, "metrics": 9, "shutdown": 21,
}
REPLY_KINDS = ("TEXT", "JSON", "OPENMETRICS")
ISOLATIONS = {"private": 0, "shared": 1, "explicit": 2}


def _table(text, offset=0):
    out, number = {}, offset
    for item in text.split(","):
        words = item.split()
        if words[0].isdigit():
            number = int(words.pop(0))
        else:
            number += 1
        out[number] = (words[0], " ".join(words[1:]))
    return out


SCHEMA = {
    "MapEntry": _table("key string, value string"),
    "Frame": _table("""envelope_version u32, kind enum, payload_protocol u32, payload bytes, request_id u64,
        payload_encoding enum, deadline_unix_ms u64, traceparent string, tracestate string"""),
    "Hello": _table("""client_min_protocol u32, client_max_protocol u32, service_name string,
        wanted_version string, client_version string, client_capabilities u64, auth_token bytes,
        request_id string, connection_id u64, peer_pid u32, client_lib_name string,
        client_lib_version string, peer_attestation_nonce bytes, capability_token bytes,
        client_keepalive_secs u64"""),
    "HelloReply": _table("negotiated message Negotiated, refused message Refused"),
    "Negotiated": _table("""negotiated_protocol u32, daemon_version string, backend_pipe string,
        warnings repeated string, server_capabilities u64, keepalive_interval_secs u64,
        handle_passed_token bytes, connection_id u64"""),
    "Refused": _table("""reason string, daemon_min_protocol u32, daemon_max_protocol u32, code enum,
        details map, retry_after_ms u64"""),
    "HandoffOffer": _table("handle_value u64, token bytes, service_name string, correlation_id u64"),
    "HandoffAck": _table("token bytes, accepted bool, error_detail string, correlation_id u64"),
    "AdminRequest": _table("""verb enum, json bool, service_name string, output_path string,
        drain_deadline_ms u64"""),
    "AdminReply": _table("kind enum, body string, exit_code u32, content_type string"),
    "ServiceDefinition": _table("""service_name string, binary_path string, isolation enum,
        explicit_instance string, per_version_binary_dir string, min_version string,
        version_allow_list repeated string, labels map"""),
    "ServiceDefinitionV2": _table("""service_name string, binary_path string, isolation enum,
        explicit_instance string, per_version_binary_dir string, min_version string,
        version_allow_list repeated string, labels map, 10 http_server message HttpServer"""),
    "HttpServer": _table("bind_addr string, health_path string, display_name string"),
    "CacheManifest": _table("""service_name string, service_version string, broker_envelope_version string,
        created_at_unix_ms u64, last_active_unix_ms u64, 10 roots repeated message CacheRoot,
        20 current_daemon message DaemonProcess, 30 cleanup_policy message CleanupPolicy,
        40 broker_instance string, 50 depends_on repeated message ManifestRef, 51 provides repeated string,
        60 observability message ObservabilityInfo, 70 bundle_id string, 100 manifest_schema_version u32,
        101 media_type string, 102 self_sha256 bytes, 103 host message HostIdentity,
        104 current_operation message Operation, 105 valid_until_unix_ms u64"""),
    "HostIdentity": _table("""hostname string, machine_id string, boot_id string, fs_dev_id u64,
        namespace_id string"""),
    "Operation": _table("kind enum, started_at_unix_ms u64, expected_done_unix_ms u64"),
    "CacheRoot": _table("""path string, kind enum, estimated_size_bytes u64, disposition enum, labels map,
        quota message Quota, teardown_hook message TeardownHook, exclude_globs repeated string,
        platform_paths map, ownership message Ownership, endpoint message Endpoint"""),
    "Endpoint": _table("namespace_id string, path string"),
    "Quota": _table("hard_max u64, soft_target u64, reserved u64"),
    "TeardownHook": _table("kind enum, argv repeated string, timeout_secs u32"),
    "Ownership": _table("uid u32, gid u32, mode u32, windows_sid string"),
    # Field 3 is reserved: it was a SHA-256, still sent by backends and ignored by readers (section 9).
    "DaemonProcess": _table("""pid u32, exe_path string, 4 ipc_endpoint message Endpoint,
        started_at_unix_ms u64, boot_id string, idle_timeout_secs optional u32,
        exe_hash_algorithm string, exe_hash bytes"""),
    "CleanupPolicy": _table("""dormant_after_secs u64, keep_last_n_versions u32, keep_current bool,
        min_size_for_prune_bytes u64"""),
    "ManifestRef": _table("service_name string, min_version string, optional bool"),
    "ObservabilityInfo": _table("metrics_endpoint string, log_path string, health_check_endpoint string"),
    "LifecycleEvent": _table("""ts_ms u64, pid u32, service_name string, kind enum, reason string, extra map,
        severity_number u32, severity_text string, request_id string, connection_id u64,
        broker_instance string"""),
    "SessionFrame": _table("""stdin bytes, stdin_eof bytes, stdout bytes, stderr bytes, exit bytes,
        start message SessionStart"""),
    "SessionStart": _table("""program string, args repeated string, cwd string, env repeated message MapEntry,
        clear_inherited_env bool, environment_policy enum"""),
}
