DROP INDEX `users_suspended`;--> statement-breakpoint
DROP INDEX `users_by_role`;--> statement-breakpoint
CREATE INDEX `users_by_status` ON `users` (`tenant_id`,`status`,`id`);--> statement-breakpoint
CREATE INDEX `users_by_role` ON `users` (`tenant_id`,`role`,`status`,`id`);