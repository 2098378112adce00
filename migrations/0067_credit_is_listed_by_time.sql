DROP INDEX `credit_transactions_by_kind`;--> statement-breakpoint
CREATE INDEX `credit_transactions_by_time` ON `credit_transactions` (`tenant_id`,`created_at`,`seq`);--> statement-breakpoint
CREATE INDEX `credit_transactions_by_kind` ON `credit_transactions` (`tenant_id`,`kind`,`created_at`,`seq`);