CREATE TABLE `usage_logs` (
	`tenant_id` text NOT NULL,
	`grain` text NOT NULL,
	`part` text NOT NULL,
	`started_at` text NOT NULL,
	`name` text NOT NULL,
	`requests` integer NOT NULL,
	`errors` integer NOT NULL,
	`request_size_bytes` integer NOT NULL,
	`response_size_bytes` integer NOT NULL,
	`latency` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `grain`, `part`, `started_at`, `name`)
);
