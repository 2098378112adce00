CREATE TABLE `state_changes` (
	`tenant_id` text NOT NULL,
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`kind` text NOT NULL,
	`id` text NOT NULL,
	`until` text NOT NULL,
	`data` text NOT NULL,
	`told` integer DEFAULT 0 NOT NULL,
	`created_at` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `state_changes_by_tenant` ON `state_changes` (`tenant_id`);--> statement-breakpoint
CREATE INDEX `state_changes_by_end` ON `state_changes` (`until`);--> statement-breakpoint
CREATE INDEX `state_changes_untold` ON `state_changes` (`told`,`seq`) WHERE told = 0;