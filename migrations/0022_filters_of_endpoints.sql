CREATE TABLE `jobs` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`kind` text NOT NULL,
	`status` text NOT NULL,
	`progress` integer DEFAULT 0 NOT NULL,
	`input` text NOT NULL,
	`state` text NOT NULL,
	`result` text,
	`error` text,
	`failures` integer DEFAULT 0 NOT NULL,
	`next_at` text,
	`created_by` text,
	`created_at` text NOT NULL,
	`started_at` text,
	`finished_at` text,
	`updated_at` text NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `jobs_by_status` ON `jobs` (`tenant_id`,`status`,`id`);--> statement-breakpoint
CREATE INDEX `jobs_due` ON `jobs` (`next_at`) WHERE next_at is not null;--> statement-breakpoint
CREATE INDEX `audit_log_by_kind` ON `audit_log` (`tenant_id`,`resource`,`seq`);--> statement-breakpoint
CREATE INDEX `audit_log_by_request` ON `audit_log` (`tenant_id`,`request_id`,`seq`);--> statement-breakpoint
CREATE INDEX `invitations_by_expiry` ON `invitations` (`tenant_id`,`expires_at`,`id`) WHERE accepted_at is null and revoked_at is null;--> statement-breakpoint
CREATE INDEX `endpoints_filtered` ON `endpoints` (`tenant_id`,`application_id`) WHERE filter is not null;