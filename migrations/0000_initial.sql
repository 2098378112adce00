CREATE TABLE `audit_log` (
	`tenant_id` text NOT NULL,
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`id` text NOT NULL,
	`actor_kind` text NOT NULL,
	`actor_id` text,
	`impersonator_id` text,
	`action` text NOT NULL,
	`resource` text NOT NULL,
	`resource_id` text NOT NULL,
	`address` text,
	`user_agent` text,
	`request_id` text,
	`before` text,
	`after` text,
	`created_at` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `audit_log_by_tenant` ON `audit_log` (`tenant_id`,`seq`);--> statement-breakpoint
CREATE TABLE `interactions` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`type` text NOT NULL,
	`text` text,
	`speaker_id` text,
	`conversation_id` text,
	`user_id` text,
	`item_id` text,
	`value` real,
	`audio_url` text,
	`metadata` text NOT NULL,
	`occurred_at` text NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `interactions_by_speaker` ON `interactions` (`tenant_id`,`speaker_id`,`id`) WHERE speaker_id is not null;--> statement-breakpoint
CREATE INDEX `interactions_by_conversation` ON `interactions` (`tenant_id`,`conversation_id`,`id`);--> statement-breakpoint
CREATE TABLE `agents` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`name` text NOT NULL,
	`description` text,
	`kind` text NOT NULL,
	`system_prompt` text,
	`config` text NOT NULL,
	`avatar` text,
	`is_active` integer NOT NULL,
	`webhook_url` text,
	`webhook_header` text,
	`base_url` text,
	`idempotent` integer NOT NULL,
	`webhook_token` text,
	`signing_secret` text,
	`api_key` text,
	`created_by` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE TABLE `chats` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`user_id` text NOT NULL,
	`api_key_id` text,
	`agent_id` text NOT NULL,
	`title` text,
	`is_archived` integer DEFAULT false NOT NULL,
	`is_pinned` integer DEFAULT false NOT NULL,
	`tags` text NOT NULL,
	`metadata` text NOT NULL,
	`message_count` integer DEFAULT 0 NOT NULL,
	`last_message_at` text,
	`last_activity_at` text NOT NULL,
	`last_seq` integer DEFAULT 0 NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `chats_by_activity` ON `chats` (`tenant_id`,`user_id`,`last_activity_at`,`id`);--> statement-breakpoint
CREATE INDEX `chats_by_agent` ON `chats` (`tenant_id`,`agent_id`,`last_activity_at`);--> statement-breakpoint
CREATE TABLE `events` (
	`tenant_id` text NOT NULL,
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`id` text NOT NULL,
	`type` text NOT NULL,
	`subject` text,
	`channels` text NOT NULL,
	`data` text,
	`data_key` text,
	`origin` text,
	`trace_id` text,
	`dispatched` integer DEFAULT 0 NOT NULL,
	`timestamp` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `events_by_id` ON `events` (`tenant_id`,`id`);--> statement-breakpoint
CREATE UNIQUE INDEX `events_by_origin` ON `events` (`tenant_id`,`origin`) WHERE origin is not null;--> statement-breakpoint
CREATE INDEX `events_undispatched` ON `events` (`dispatched`,`seq`) WHERE dispatched = 0;--> statement-breakpoint
CREATE TABLE `api_keys` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`name` text NOT NULL,
	`prefix` text NOT NULL,
	`hash` text NOT NULL,
	`scopes` text NOT NULL,
	`created_by` text,
	`last_used_at` text,
	`expires_at` text,
	`revoked_at` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`),
	FOREIGN KEY (`tenant_id`,`created_by`) REFERENCES `users`(`tenant_id`,`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `api_keys_by_hash` ON `api_keys` (`hash`);--> statement-breakpoint
CREATE TABLE `invitations` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`email` text NOT NULL,
	`role` text NOT NULL,
	`hash` text NOT NULL,
	`created_at` text NOT NULL,
	`expires_at` text NOT NULL,
	`accepted_at` text,
	`revoked_at` text,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `invitations_by_hash` ON `invitations` (`hash`);--> statement-breakpoint
CREATE TABLE `refresh_tokens` (
	`tenant_id` text NOT NULL,
	`hash` text PRIMARY KEY NOT NULL,
	`session_id` text NOT NULL,
	`created_at` text NOT NULL,
	`used_at` text,
	FOREIGN KEY (`tenant_id`,`session_id`) REFERENCES `sessions`(`tenant_id`,`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `refresh_tokens_by_session` ON `refresh_tokens` (`tenant_id`,`session_id`);--> statement-breakpoint
CREATE TABLE `sessions` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`user_id` text NOT NULL,
	`user_agent` text,
	`address` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`last_seen_at` text NOT NULL,
	`expires_at` text NOT NULL,
	`ended_at` text,
	PRIMARY KEY(`tenant_id`, `id`),
	FOREIGN KEY (`tenant_id`,`user_id`) REFERENCES `users`(`tenant_id`,`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `sessions_by_user` ON `sessions` (`tenant_id`,`user_id`);--> statement-breakpoint
CREATE TABLE `signing_keys` (
	`kid` text PRIMARY KEY NOT NULL,
	`public_jwk` text NOT NULL,
	`private_sealed` text NOT NULL,
	`created_at` text NOT NULL,
	`signs_from` text NOT NULL,
	`published_until` text
);
--> statement-breakpoint
CREATE TABLE `mail_tokens` (
	`tenant_id` text NOT NULL,
	`hash` text PRIMARY KEY NOT NULL,
	`user_id` text NOT NULL,
	`purpose` text NOT NULL,
	`expires_at` text NOT NULL,
	`used_at` text
);
--> statement-breakpoint
CREATE INDEX `mail_tokens_by_user` ON `mail_tokens` (`tenant_id`,`user_id`);--> statement-breakpoint
CREATE TABLE `users` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`email` text NOT NULL,
	`full_name` text,
	`role` text NOT NULL,
	`status` text NOT NULL,
	`password_hash` text,
	`avatar` text,
	`preferences` text NOT NULL,
	`is_personal` integer DEFAULT 0 NOT NULL,
	`email_verified_at` text,
	`last_login_at` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `users_by_email` ON `users` (`tenant_id`,`email`);--> statement-breakpoint
CREATE INDEX `users_by_address` ON `users` (`email`);--> statement-breakpoint
CREATE UNIQUE INDEX `users_personal` ON `users` (`email`) WHERE is_personal = 1;--> statement-breakpoint
CREATE TABLE `mails` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`to` text NOT NULL,
	`subject` text NOT NULL,
	`text` text NOT NULL,
	`html` text NOT NULL,
	`created_at` text NOT NULL,
	`sent_at` text,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `mails_by_age` ON `mails` (`created_at`);--> statement-breakpoint
CREATE TABLE `idempotency_keys` (
	`tenant_id` text NOT NULL,
	`principal` text NOT NULL,
	`key` text NOT NULL,
	`fingerprint` text NOT NULL,
	`claim` text NOT NULL,
	`status` integer,
	`headers` text,
	`body` text,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `principal`, `key`)
);
--> statement-breakpoint
CREATE INDEX `idempotency_keys_by_age` ON `idempotency_keys` (`created_at`);--> statement-breakpoint
CREATE TABLE `tenants` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`slug` text NOT NULL,
	`plan` text NOT NULL,
	`status` text NOT NULL,
	`settings` text NOT NULL,
	`region` text,
	`is_platform` integer DEFAULT 0 NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	`cancelled_at` text
);
--> statement-breakpoint
CREATE UNIQUE INDEX `tenants_by_slug` ON `tenants` (`slug`);--> statement-breakpoint
CREATE TABLE `deliveries` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`event_id` text NOT NULL,
	`event_type` text NOT NULL,
	`endpoint_id` text NOT NULL,
	`status` text NOT NULL,
	`attempt_count` integer DEFAULT 0 NOT NULL,
	`retries` integer DEFAULT 0 NOT NULL,
	`next_attempt_at` text,
	`created_at` text NOT NULL,
	`delivered_at` text,
	`version` integer DEFAULT 1 NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `deliveries_by_endpoint` ON `deliveries` (`tenant_id`,`endpoint_id`,`id`);--> statement-breakpoint
CREATE INDEX `deliveries_pending` ON `deliveries` (`tenant_id`,`endpoint_id`,`next_attempt_at`) WHERE status = 'pending';--> statement-breakpoint
CREATE INDEX `deliveries_undelivered` ON `deliveries` (`tenant_id`,`status`,`id`) WHERE status in ('failed', 'exhausted', 'held', 'cancelled');--> statement-breakpoint
CREATE TABLE `endpoints` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`tail` text NOT NULL,
	`uid` text,
	`url` text NOT NULL,
	`description` text NOT NULL,
	`event_types` text NOT NULL,
	`channels` text NOT NULL,
	`payload` text NOT NULL,
	`headers` text NOT NULL,
	`secrets` text NOT NULL,
	`timeout_ms` integer NOT NULL,
	`status` text NOT NULL,
	`not_before` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `endpoints_by_uid` ON `endpoints` (`tenant_id`,`uid`) WHERE uid is not null;--> statement-breakpoint
CREATE UNIQUE INDEX `endpoints_by_tail` ON `endpoints` (`tenant_id`,`tail`);