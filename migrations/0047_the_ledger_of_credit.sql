CREATE TABLE `credit_transactions` (
	`tenant_id` text NOT NULL,
	`seq` integer NOT NULL,
	`id` text NOT NULL,
	`kind` text NOT NULL,
	`amount` integer NOT NULL,
	`balance_after` integer NOT NULL,
	`reference` text,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `seq`),
	CONSTRAINT "credit_is_never_owed" CHECK(balance_after >= 0)
);
--> statement-breakpoint
CREATE INDEX `credit_transactions_by_kind` ON `credit_transactions` (`tenant_id`,`kind`,`seq`);--> statement-breakpoint
CREATE UNIQUE INDEX `credit_transactions_by_reference` ON `credit_transactions` (`tenant_id`,`reference`,`kind`) WHERE reference is not null;--> statement-breakpoint
CREATE TRIGGER credit_transactions_stand BEFORE UPDATE ON credit_transactions BEGIN
	SELECT raise(ABORT, 'the ledger of credit is append-only');
END;
