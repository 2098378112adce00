ALTER TABLE `events` ADD `application_id` text;--> statement-breakpoint
ALTER TABLE `endpoints` ADD `application_id` text;--> statement-breakpoint
ALTER TABLE `endpoints` ADD `filter` text;--> statement-breakpoint
ALTER TABLE `endpoints` ADD `rate_limit` integer;--> statement-breakpoint
ALTER TABLE `endpoints` ADD `ordered` integer DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE `endpoints` ADD `retry_schedule` text;--> statement-breakpoint
ALTER TABLE `endpoints` ADD `signature_profile` text DEFAULT 'standard' NOT NULL;