CREATE TABLE `applications` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`uid` text,
	`name` text NOT NULL,
	`metadata` text NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `applications_by_uid` ON `applications` (`tenant_id`,`uid`) WHERE uid is not null;--> statement-breakpoint
DROP INDEX `endpoints_by_uid`;--> statement-breakpoint
ALTER TABLE `endpoints` ADD `metadata` text DEFAULT '{}' NOT NULL;--> statement-breakpoint
CREATE UNIQUE INDEX `endpoints_by_uid_in_application` ON `endpoints` (`tenant_id`,`application_id`,`uid`) WHERE uid is not null and application_id is not null;--> statement-breakpoint
CREATE INDEX `endpoints_by_application` ON `endpoints` (`tenant_id`,`application_id`,`id`);--> statement-breakpoint
CREATE UNIQUE INDEX `endpoints_by_uid` ON `endpoints` (`tenant_id`,`uid`) WHERE uid is not null and application_id is null;--> statement-breakpoint
CREATE INDEX `events_by_application` ON `events` (`tenant_id`,`application_id`,`id`) WHERE application_id is not null;