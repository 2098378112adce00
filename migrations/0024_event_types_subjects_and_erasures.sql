CREATE TABLE `erasures` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`status` text NOT NULL,
	`subject` text,
	`until` text NOT NULL,
	`events` integer DEFAULT 0 NOT NULL,
	`deliveries` integer DEFAULT 0 NOT NULL,
	`busy_until` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`finished_at` text,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `erasures_running` ON `erasures` (`status`,`created_at`) WHERE status = 'running';--> statement-breakpoint
CREATE TABLE `event_types` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`name` text NOT NULL,
	`description` text NOT NULL,
	`schema` text,
	`validation` text NOT NULL,
	`example` text,
	`archived` integer NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `event_types_by_name` ON `event_types` (`tenant_id`,`name`);--> statement-breakpoint
ALTER TABLE `events` ADD `schema_error` text;--> statement-breakpoint
CREATE INDEX `events_by_subject` ON `events` (`tenant_id`,`subject`,`seq`) WHERE subject is not null;--> statement-breakpoint
CREATE INDEX `events_unlike_their_schema` ON `events` (`tenant_id`,`id`) WHERE schema_error is not null;