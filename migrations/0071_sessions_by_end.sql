DROP INDEX `sessions_by_user`;--> statement-breakpoint
CREATE INDEX `sessions_by_end` ON `sessions` (`ended_at`,`expires_at`);--> statement-breakpoint
CREATE INDEX `sessions_by_user` ON `sessions` (`tenant_id`,`user_id`,`ended_at`,`id`);