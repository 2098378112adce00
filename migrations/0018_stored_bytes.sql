CREATE TABLE `stored_bytes` (
	`tenant_id` text PRIMARY KEY NOT NULL,
	`bytes` integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE `agents` ADD `avatar_bytes` integer DEFAULT 0 NOT NULL;
--> statement-breakpoint
CREATE TRIGGER `agents_bytes_made` AFTER INSERT ON `agents` WHEN new.`avatar_bytes` > 0 BEGIN
	INSERT INTO `stored_bytes`(`tenant_id`, `bytes`) VALUES (new.`tenant_id`, new.`avatar_bytes`)
		ON CONFLICT(`tenant_id`) DO UPDATE SET `bytes` = `bytes` + excluded.`bytes`;
END;
--> statement-breakpoint
CREATE TRIGGER `agents_bytes_changed` AFTER UPDATE OF `avatar_bytes` ON `agents` WHEN old.`avatar_bytes` <> new.`avatar_bytes` BEGIN
	INSERT INTO `stored_bytes`(`tenant_id`, `bytes`) VALUES (new.`tenant_id`, new.`avatar_bytes` - old.`avatar_bytes`)
		ON CONFLICT(`tenant_id`) DO UPDATE SET `bytes` = max(0, `bytes` + excluded.`bytes`);
END;
--> statement-breakpoint
CREATE TRIGGER `agents_bytes_gone` AFTER DELETE ON `agents` WHEN old.`avatar_bytes` > 0 BEGIN
	UPDATE `stored_bytes` SET `bytes` = max(0, `bytes` - old.`avatar_bytes`) WHERE `tenant_id` = old.`tenant_id`;
END;
