CREATE TABLE `provider_references` (
	`tenant_id` text NOT NULL,
	`provider` text NOT NULL,
	`reference` text NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `provider`, `reference`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `provider_references_by_id` ON `provider_references` (`provider`,`reference`);
--> statement-breakpoint
CREATE TABLE `received_webhooks` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`source` text NOT NULL,
	`key` text NOT NULL,
	`type` text NOT NULL,
	`event_id` text,
	`body_key` text,
	`size_bytes` integer NOT NULL,
	`signed_by` integer NOT NULL,
	`received_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `received_webhooks_by_key` ON `received_webhooks` (`tenant_id`,`source`,`key`);
--> statement-breakpoint
CREATE INDEX `received_webhooks_by_source` ON `received_webhooks` (`tenant_id`,`source`,`id`);
--> statement-breakpoint
CREATE TABLE `refused_webhooks` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`source` text NOT NULL,
	`code` text NOT NULL,
	`message` text NOT NULL,
	`size_bytes` integer,
	`content_type` text,
	`user_agent` text,
	`address` text,
	`request_id` text NOT NULL,
	`received_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `refused_webhooks_by_source` ON `refused_webhooks` (`tenant_id`,`source`,`id`);
--> statement-breakpoint
CREATE TABLE `webhook_sources` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`kind` text NOT NULL,
	`name` text NOT NULL,
	`secrets` text NOT NULL,
	`hmac` text,
	`per_minute` integer NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `webhook_sources_by_id` ON `webhook_sources` (`id`);
