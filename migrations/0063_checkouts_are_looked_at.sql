ALTER TABLE `checkouts` ADD `look_at` text;--> statement-breakpoint
CREATE INDEX `checkouts_due` ON `checkouts` (`look_at`) WHERE look_at is not null;--> statement-breakpoint
CREATE INDEX `checkouts_by_completion` ON `checkouts` (`tenant_id`,`completed_at`) WHERE completed_at is not null;