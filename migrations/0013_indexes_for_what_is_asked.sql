DROP INDEX `mfa_challenges_by_end`;--> statement-breakpoint
DROP INDEX `used_challenges_by_end`;--> statement-breakpoint
DROP INDEX `oauth_accounts_by_user`;--> statement-breakpoint
CREATE INDEX `oauth_accounts_by_user` ON `oauth_accounts` (`tenant_id`,`user_id`,`id`);--> statement-breakpoint
DROP INDEX `passkeys_by_user`;--> statement-breakpoint
CREATE INDEX `passkeys_by_user` ON `passkeys` (`tenant_id`,`user_id`,`id`);--> statement-breakpoint
DROP INDEX `sessions_by_user`;--> statement-breakpoint
CREATE INDEX `sessions_by_user` ON `sessions` (`tenant_id`,`user_id`,`id`);--> statement-breakpoint
DROP INDEX `deliveries_undelivered`;--> statement-breakpoint
CREATE INDEX `deliveries_undelivered` ON `deliveries` (`tenant_id`,`status`,`id`) WHERE status in ('pending', 'failed', 'exhausted', 'held', 'cancelled');--> statement-breakpoint
CREATE INDEX `api_keys_by_maker` ON `api_keys` (`tenant_id`,`created_by`);