DROP INDEX `users_by_status`;--> statement-breakpoint
CREATE INDEX `users_suspended` ON `users` (`tenant_id`,`id`) WHERE status = 'suspended';