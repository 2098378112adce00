CREATE TABLE `workflow_events` (
	`tenant_id` text NOT NULL,
	`workflow_id` text NOT NULL,
	`seq` integer NOT NULL,
	`event_id` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `workflow_id`, `seq`)
);
--> statement-breakpoint
CREATE TABLE `workflow_triggers` (
	`tenant_id` text NOT NULL,
	`workflow_id` text NOT NULL,
	`place` integer NOT NULL,
	`event_type` text,
	`cron` text,
	`time_zone` text,
	`next_at` text,
	PRIMARY KEY(`tenant_id`, `workflow_id`, `place`)
);
--> statement-breakpoint
CREATE INDEX `workflow_triggers_by_event` ON `workflow_triggers` (`tenant_id`,`event_type`) WHERE event_type is not null;--> statement-breakpoint
CREATE INDEX `workflow_triggers_due` ON `workflow_triggers` (`next_at`) WHERE next_at is not null;--> statement-breakpoint
CREATE TABLE `workflows` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`name` text NOT NULL,
	`description` text NOT NULL,
	`is_active` integer NOT NULL,
	`triggers` text NOT NULL,
	`steps` text NOT NULL,
	`max_runs` integer NOT NULL,
	`created_by` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
ALTER TABLE `jobs` ADD `about` text;--> statement-breakpoint
ALTER TABLE `jobs` ADD `cause` text;--> statement-breakpoint
CREATE INDEX `jobs_by_about` ON `jobs` (`tenant_id`,`about`,`id`) WHERE about is not null;--> statement-breakpoint
CREATE INDEX `jobs_by_about_and_status` ON `jobs` (`tenant_id`,`about`,`status`,`id`) WHERE about is not null;--> statement-breakpoint
CREATE UNIQUE INDEX `jobs_by_cause` ON `jobs` (`tenant_id`,`cause`,`about`) WHERE cause is not null;
--> statement-breakpoint
-- With the event itself: what starts by it is written down where it is, whoever commits it. GLOB reads `order.*` and `*`.
CREATE TRIGGER `events_start_workflows` AFTER INSERT ON `events` WHEN new.`application_id` IS NULL BEGIN
	INSERT OR IGNORE INTO `workflow_events`(`tenant_id`, `workflow_id`, `seq`, `event_id`)
		SELECT t.`tenant_id`, t.`workflow_id`, new.`seq`, new.`id` FROM `workflow_triggers` AS t
		WHERE t.`tenant_id` = new.`tenant_id` AND t.`event_type` IS NOT NULL AND new.`type` GLOB t.`event_type`;
END;
