package metrics

// The names of the reference (operations, sections 5.4 and 5.5), in the order they are printed.
// Summary sets by server id belong to an ensemble and appear with its links.
var (
	counterNames = []string{
		"looking_count", "diff_count", "snap_count", "commit_count", "proposal_count", "learner_proposal_received_count",
		"learner_commit_received_count", "quit_leading_due_to_disloyal_voter", "revalidate_count",
		"skip_learner_request_to_next_processor_count", "requests_not_forwarded_to_commit_processor",
		"connection_request_count", "connection_rejected", "connection_drop_count", "connection_revalidate_count",
		"sessionless_connections_expired", "stale_sessions_expired", "cnxn_closed_without_zk_server_running",
		"unsuccessful_handshake", "tls_handshake_exceeded", "insecure_admin_count",
		"bytes_received_count", "response_bytes", "watch_bytes",
		"prep_processor_request_queued", "sync_processor_request_queued", "request_commit_queued",
		"outstanding_changes_queued", "outstanding_changes_removed", "request_throttle_wait_count", "throttled_ops",
		"stale_requests", "stale_requests_dropped", "stale_replies", "large_requests_rejected",
		"response_packet_cache_hits", "response_packet_cache_misses",
		"response_packet_get_children_cache_hits", "response_packet_get_children_cache_misses",
		"dead_watchers_queued", "dead_watchers_cleared", "add_dead_watcher_stall_time",
		"ensemble_auth_success", "ensemble_auth_fail", "ensemble_auth_skip",
		"unrecoverable_error_count", "digest_mismatches_count",
		"snapshot_error_count", "snapshot_rate_limited_count", "restore_error_count", "restore_rate_limited_count",
	}
	basicNames = []string{
		"fsynctime", "snapshottime", "restore_time", "dbinittime", "startup_snap_load_time", "startup_txns_load_time",
		"startup_txns_loaded", "election_time", "follower_sync_time", "observer_sync_time", "unavailable_time",
		"leader_unavailable_time", "inflight_snap_count", "inflight_diff_count", "connection_token_deficit",
		"prep_processor_queue_size", "prep_process_time", "proposal_process_time", "sync_processor_queue_size",
		"sync_process_time", "sync_processor_batch_size", "commit_process_time", "write_batch_time_in_commit_processor",
		"time_waiting_empty_pool_in_commit_processor_read_ms", "read_commit_proc_req_queued", "write_commit_proc_req_queued",
		"commit_commit_proc_req_queued", "read_commit_proc_issued", "write_commit_proc_issued", "requests_in_session_queue",
		"pending_session_queue_size", "reads_after_write_in_session_queue", "reads_issued_from_session_queue",
		"session_queues_drained", "concurrent_request_processing_in_commit_processor", "learner_request_processor_queue_size",
		"node_created_watch_count", "node_deleted_watch_count", "node_changed_watch_count", "node_children_watch_count",
		"netty_queued_buffer_capacity", "socket_closing_time",
	}
	advancedNames = []string{
		"readlatency", "updatelatency", "propagation_latency", "proposal_latency", "commit_propagation_latency",
		"proposal_ack_creation_latency", "quorum_ack_latency", "prep_processor_queue_time_ms", "close_session_prep_time",
		"sync_processor_queue_time_ms", "sync_processor_queue_flush_time_ms", "sync_processor_queue_and_flush_time_ms",
		"read_commitproc_time_ms", "write_commitproc_time_ms", "local_write_committed_time_ms",
		"server_write_committed_time_ms", "read_final_proc_time_ms", "write_final_proc_time_ms",
		"om_proposal_process_time_ms", "om_commit_process_time_ms", "request_throttle_queue_time_ms",
		"dead_watchers_cleaner_latency", "jvm_pause_time_ms",
	}
	// By the first component of the path.
	counterSetNames = []string{"quota_exceeded_error_per_namespace"}
)
