DROP TABLE `alert_watches`;
--> statement-breakpoint
CREATE TABLE `alert_watches` (
	`tenant_id` text PRIMARY KEY NOT NULL,
	`next_at` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `alert_watches_due` ON `alert_watches` (`next_at`);
