CREATE TABLE `pipeline_batches` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`first_seq` integer NOT NULL,
	`last_seq` integer NOT NULL,
	`size` integer NOT NULL,
	`failures` integer DEFAULT 0 NOT NULL,
	`refusal` text,
	`next_at` text NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `pipeline_batches_due` ON `pipeline_batches` (`next_at`);--> statement-breakpoint
CREATE TABLE `daily_counts` (
	`tenant_id` text NOT NULL,
	`metric` text NOT NULL,
	`day` text NOT NULL,
	`name` text NOT NULL,
	`n` integer NOT NULL,
	PRIMARY KEY(`tenant_id`, `metric`, `day`, `name`)
);
--> statement-breakpoint
CREATE TABLE `followers` (
	`name` text PRIMARY KEY NOT NULL,
	`seq` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `daily_deliveries` (
	`tenant_id` text NOT NULL,
	`day` text NOT NULL,
	`endpoint_id` text NOT NULL,
	`attempts` integer DEFAULT 0 NOT NULL,
	`delivered` integer DEFAULT 0 NOT NULL,
	`failed` integer DEFAULT 0 NOT NULL,
	`exhausted` integer DEFAULT 0 NOT NULL,
	`cancelled` integer DEFAULT 0 NOT NULL,
	PRIMARY KEY(`tenant_id`, `day`, `endpoint_id`)
);
--> statement-breakpoint
-- What came of deliveries until now; from here on a trigger counts.
INSERT INTO `daily_deliveries`(`tenant_id`, `day`, `endpoint_id`, `attempts`, `delivered`, `failed`, `exhausted`, `cancelled`)
	SELECT `tenant_id`, substr(coalesce(`delivered_at`, `created_at`), 1, 10), `endpoint_id`, sum(`attempt_count`),
		sum(`status` = 'delivered'), sum(`status` = 'failed'), sum(`status` = 'exhausted'), sum(`status` = 'cancelled')
	FROM `deliveries` WHERE `attempt_count` > 0 OR `status` NOT IN ('pending', 'held') GROUP BY 1, 2, 3;
--> statement-breakpoint
CREATE TRIGGER `deliveries_by_day` AFTER UPDATE OF `status`, `attempt_count` ON `deliveries`
	WHEN new.`attempt_count` > old.`attempt_count`
		OR (new.`status` <> old.`status` AND new.`status` IN ('delivered', 'failed', 'exhausted', 'cancelled')) BEGIN
	INSERT INTO `daily_deliveries`(`tenant_id`, `day`, `endpoint_id`, `attempts`, `delivered`, `failed`, `exhausted`, `cancelled`)
		VALUES (new.`tenant_id`, date('now'), new.`endpoint_id`, max(0, new.`attempt_count` - old.`attempt_count`),
			new.`status` = 'delivered' AND old.`status` <> 'delivered', new.`status` = 'failed' AND old.`status` <> 'failed',
			new.`status` = 'exhausted' AND old.`status` <> 'exhausted', new.`status` = 'cancelled' AND old.`status` <> 'cancelled')
		ON CONFLICT (`tenant_id`, `day`, `endpoint_id`) DO UPDATE SET `attempts` = `attempts` + excluded.`attempts`,
			`delivered` = `delivered` + excluded.`delivered`, `failed` = `failed` + excluded.`failed`,
			`exhausted` = `exhausted` + excluded.`exhausted`, `cancelled` = `cancelled` + excluded.`cancelled`;
END;
--> statement-breakpoint
-- Those that were counted already; what was not is not there any more when it would be.
CREATE TRIGGER `interactions_uncounted` AFTER DELETE ON `interactions`
	WHEN old.`seq` <= (SELECT `seq` FROM `followers` WHERE `name` = 'daily.interactions') BEGIN
	UPDATE `daily_counts` SET `n` = `n` - 1 WHERE `tenant_id` = old.`tenant_id` AND `metric` = 'interactions'
		AND `day` = substr(old.`occurred_at`, 1, 10) AND `name` = '';
	UPDATE `daily_counts` SET `n` = `n` - 1 WHERE `tenant_id` = old.`tenant_id` AND `metric` = 'interactions.type'
		AND `day` = substr(old.`occurred_at`, 1, 10) AND `name` = old.`type`;
END;
