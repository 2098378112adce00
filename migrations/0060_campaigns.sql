CREATE TABLE `campaign_contacts` (
	`tenant_id` text NOT NULL,
	`campaign_id` text NOT NULL,
	`id` text NOT NULL,
	`phone` text NOT NULL,
	`name` text,
	`timezone` text NOT NULL,
	`metadata` text NOT NULL,
	`status` text NOT NULL,
	`attempts` integer NOT NULL,
	`call_id` text,
	`ended_reason` text,
	`next_at` text,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `campaign_id`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `campaign_contacts_by_phone` ON `campaign_contacts` (`tenant_id`,`campaign_id`,`phone`);--> statement-breakpoint
CREATE INDEX `campaign_contacts_by_status` ON `campaign_contacts` (`tenant_id`,`campaign_id`,`status`,`id`);--> statement-breakpoint
CREATE INDEX `campaign_contacts_due` ON `campaign_contacts` (`tenant_id`,`campaign_id`,`timezone`,`next_at`) WHERE next_at is not null;--> statement-breakpoint
CREATE TABLE `campaigns` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`name` text NOT NULL,
	`agent_id` text NOT NULL,
	`from` text,
	`status` text NOT NULL,
	`paused_reason` text,
	`schedule` text,
	`job_id` text,
	`contacts` integer DEFAULT 0 NOT NULL,
	`pending` integer DEFAULT 0 NOT NULL,
	`calling` integer DEFAULT 0 NOT NULL,
	`completed` integer DEFAULT 0 NOT NULL,
	`no_answer` integer DEFAULT 0 NOT NULL,
	`failed` integer DEFAULT 0 NOT NULL,
	`counted` integer DEFAULT 0 NOT NULL,
	`created_by` text,
	`started_at` text,
	`completed_at` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `campaigns_by_status` ON `campaigns` (`tenant_id`,`status`,`id`);--> statement-breakpoint
CREATE INDEX `campaigns_by_agent` ON `campaigns` (`tenant_id`,`agent_id`,`id`);