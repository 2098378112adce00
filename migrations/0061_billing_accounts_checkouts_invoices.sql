CREATE TABLE `checkouts` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`kind` text NOT NULL,
	`credits` integer,
	`plan` text,
	`amount` integer NOT NULL,
	`currency` text NOT NULL,
	`status` text NOT NULL,
	`provider` text NOT NULL,
	`session_id` text NOT NULL,
	`payment_intent` text,
	`url` text NOT NULL,
	`success_url` text NOT NULL,
	`cancel_url` text,
	`refunded_amount` integer DEFAULT 0 NOT NULL,
	`disputed_amount` integer DEFAULT 0 NOT NULL,
	`refunded_credits` integer DEFAULT 0 NOT NULL,
	`expires_at` text NOT NULL,
	`completed_at` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `checkouts_by_session` ON `checkouts` (`tenant_id`,`session_id`);--> statement-breakpoint
CREATE INDEX `checkouts_by_status` ON `checkouts` (`tenant_id`,`status`,`id`);--> statement-breakpoint
CREATE UNIQUE INDEX `checkouts_by_payment` ON `checkouts` (`tenant_id`,`payment_intent`) WHERE payment_intent is not null;--> statement-breakpoint
CREATE TABLE `credit_months` (
	`tenant_id` text NOT NULL,
	`month` text NOT NULL,
	`kind` text NOT NULL,
	`transactions` integer NOT NULL,
	`amount` integer NOT NULL,
	`invoiced` integer DEFAULT false NOT NULL,
	PRIMARY KEY(`tenant_id`, `month`, `kind`)
);
--> statement-breakpoint
CREATE INDEX `credit_months_due` ON `credit_months` (`month`) WHERE invoiced = 0;--> statement-breakpoint
CREATE TABLE `invoices` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`seq` integer,
	`number` text,
	`status` text NOT NULL,
	`currency` text NOT NULL,
	`amount_due` integer NOT NULL,
	`amount_paid` integer NOT NULL,
	`period_start` text NOT NULL,
	`period_end` text NOT NULL,
	`lines` text NOT NULL,
	`provider` text NOT NULL,
	`provider_id` text NOT NULL,
	`provider_pdf` text,
	`issued_at` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `invoices_by_origin` ON `invoices` (`tenant_id`,`provider_id`);--> statement-breakpoint
CREATE UNIQUE INDEX `invoices_by_seq` ON `invoices` (`tenant_id`,`seq`) WHERE seq is not null;--> statement-breakpoint
CREATE INDEX `invoices_by_status` ON `invoices` (`tenant_id`,`status`,`id`);--> statement-breakpoint
CREATE TABLE `billing_accounts` (
	`tenant_id` text PRIMARY KEY NOT NULL,
	`provider` text NOT NULL,
	`customer_id` text,
	`plan_checkout_id` text,
	`subscription_id` text,
	`item_id` text,
	`subscription_status` text,
	`plan` text,
	`period_start` text,
	`period_end` text,
	`cancel_at_period_end` integer DEFAULT false NOT NULL,
	`renews_at` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `billing_accounts_due` ON `billing_accounts` (`renews_at`) WHERE renews_at is not null;--> statement-breakpoint
INSERT INTO credit_months (tenant_id, month, kind, transactions, amount)
	SELECT tenant_id, substr(created_at, 1, 7), kind, count(*), sum(amount) FROM credit_transactions GROUP BY 1, 2, 3;--> statement-breakpoint
CREATE TRIGGER credit_transactions_by_month AFTER INSERT ON credit_transactions BEGIN
	INSERT INTO credit_months (tenant_id, month, kind, transactions, amount)
		VALUES (new.tenant_id, substr(new.created_at, 1, 7), new.kind, 1, new.amount)
		ON CONFLICT (tenant_id, month, kind) DO UPDATE SET transactions = transactions + 1, amount = amount + excluded.amount;
END;
