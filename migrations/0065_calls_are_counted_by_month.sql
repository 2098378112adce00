CREATE TABLE `call_months` (
	`tenant_id` text NOT NULL,
	`month` text NOT NULL,
	`calls` integer NOT NULL,
	`seconds` integer NOT NULL,
	PRIMARY KEY(`tenant_id`, `month`)
);
--> statement-breakpoint
INSERT INTO call_months (tenant_id, month, calls, seconds)
	SELECT tenant_id, substr(ended_at, 1, 7), count(*), sum(coalesce(duration_seconds, 0)) FROM calls WHERE ended_at IS NOT NULL GROUP BY 1, 2;--> statement-breakpoint
CREATE TRIGGER calls_by_month AFTER UPDATE OF ended_at ON calls WHEN old.ended_at IS NULL AND new.ended_at IS NOT NULL BEGIN
	INSERT INTO call_months (tenant_id, month, calls, seconds)
		VALUES (new.tenant_id, substr(new.ended_at, 1, 7), 1, coalesce(new.duration_seconds, 0))
		ON CONFLICT (tenant_id, month) DO UPDATE SET calls = calls + 1, seconds = seconds + excluded.seconds;
END;
