DROP TRIGGER `deliveries_by_day`;
--> statement-breakpoint
-- Attempts are counted by who writes their results, many at once; what ends without one (a cancellation, a hold that lasted
-- too long) is counted here.
CREATE TRIGGER `deliveries_by_day` AFTER UPDATE OF `status` ON `deliveries`
	WHEN new.`attempt_count` = old.`attempt_count` AND new.`status` <> old.`status`
		AND new.`status` IN ('delivered', 'failed', 'exhausted', 'cancelled') BEGIN
	INSERT INTO `daily_deliveries`(`tenant_id`, `day`, `endpoint_id`, `delivered`, `failed`, `exhausted`, `cancelled`)
		VALUES (new.`tenant_id`, date('now'), new.`endpoint_id`, new.`status` = 'delivered', new.`status` = 'failed',
			new.`status` = 'exhausted', new.`status` = 'cancelled')
		ON CONFLICT (`tenant_id`, `day`, `endpoint_id`) DO UPDATE SET `delivered` = `delivered` + excluded.`delivered`,
			`failed` = `failed` + excluded.`failed`, `exhausted` = `exhausted` + excluded.`exhausted`,
			`cancelled` = `cancelled` + excluded.`cancelled`;
END;
