CREATE TABLE `call_turns` (
	`tenant_id` text NOT NULL,
	`call_id` text NOT NULL,
	`position` integer NOT NULL,
	`role` text NOT NULL,
	`text` text NOT NULL,
	`started_at` text NOT NULL,
	`ended_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `call_id`, `position`)
);
--> statement-breakpoint
CREATE TABLE `calls` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`agent_id` text NOT NULL,
	`campaign_id` text,
	`contact_id` text,
	`to` text NOT NULL,
	`from` text NOT NULL,
	`status` text NOT NULL,
	`provider` text NOT NULL,
	`provider_call_id` text,
	`carrier_call_id` text,
	`asked_at` text,
	`started_at` text,
	`ended_at` text,
	`duration_seconds` integer,
	`cost` integer,
	`credits_per_minute` integer NOT NULL,
	`reserved` integer NOT NULL,
	`extensions` integer DEFAULT 0 NOT NULL,
	`max_duration_seconds` integer NOT NULL,
	`ended_reason` text,
	`hang_up` integer DEFAULT false NOT NULL,
	`turns` integer DEFAULT 0 NOT NULL,
	`recording` text,
	`recording_file_id` text,
	`metadata` text NOT NULL,
	`watched` integer DEFAULT false NOT NULL,
	`next_at` text,
	`failures` integer DEFAULT 0 NOT NULL,
	`created_by` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `calls_by_status` ON `calls` (`tenant_id`,`status`,`id`);--> statement-breakpoint
CREATE INDEX `calls_by_agent` ON `calls` (`tenant_id`,`agent_id`,`id`);--> statement-breakpoint
CREATE INDEX `calls_by_to` ON `calls` (`tenant_id`,`to`,`id`);--> statement-breakpoint
CREATE INDEX `calls_by_campaign` ON `calls` (`tenant_id`,`campaign_id`,`id`) WHERE campaign_id is not null;--> statement-breakpoint
CREATE UNIQUE INDEX `calls_by_provider_id` ON `calls` (`tenant_id`,`provider_call_id`) WHERE provider_call_id is not null;--> statement-breakpoint
CREATE INDEX `calls_by_carrier_id` ON `calls` (`tenant_id`,`carrier_call_id`) WHERE carrier_call_id is not null;--> statement-breakpoint
CREATE INDEX `calls_due_of_tenant` ON `calls` (`tenant_id`,`next_at`) WHERE next_at is not null;--> statement-breakpoint
CREATE INDEX `calls_due` ON `calls` (`next_at`) WHERE next_at is not null;