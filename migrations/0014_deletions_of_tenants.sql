CREATE TABLE `deletions` (
	`id` text PRIMARY KEY NOT NULL,
	`requested_by` text,
	`cancelled_at` text NOT NULL,
	`delete_after` text NOT NULL,
	`started_at` text,
	`finished_at` text,
	`pass` integer DEFAULT 1 NOT NULL,
	`step` text DEFAULT '' NOT NULL,
	`at` text DEFAULT '' NOT NULL,
	`resume_at` text NOT NULL,
	`removed` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `deletions_due` ON `deletions` (`resume_at`) WHERE finished_at is null;--> statement-breakpoint
INSERT INTO `deletions` (`id`, `cancelled_at`, `delete_after`, `resume_at`, `removed`)
SELECT `id`, coalesce(`cancelled_at`, `updated_at`),
  strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(`cancelled_at`, `updated_at`), '+30 days'),
  strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(`cancelled_at`, `updated_at`), '+30 days'), '{}'
FROM `tenants` WHERE `status` = 'cancelled';
