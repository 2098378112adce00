CREATE TABLE `member_counts` (
	`tenant_id` text PRIMARY KEY NOT NULL,
	`users` integer NOT NULL,
	`suspended` integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE `invitations` ADD `invited_by` text;
--> statement-breakpoint
ALTER TABLE `invitations` ADD `sent_at` text;
--> statement-breakpoint
ALTER TABLE `invitations` ADD `user_id` text;
--> statement-breakpoint
ALTER TABLE `invitations` ADD `state` text GENERATED ALWAYS AS ((case when accepted_at is not null then 'accepted' when revoked_at is not null then 'revoked' else 'open' end)) VIRTUAL;
--> statement-breakpoint
ALTER TABLE `invitations` ADD `version` integer DEFAULT 1 NOT NULL;
--> statement-breakpoint
CREATE UNIQUE INDEX `invitations_open` ON `invitations` (`tenant_id`,`email`) WHERE accepted_at is null and revoked_at is null;
--> statement-breakpoint
CREATE INDEX `invitations_by_state` ON `invitations` (`tenant_id`,`state`,`id`);
--> statement-breakpoint
CREATE INDEX `users_by_role` ON `users` (`tenant_id`,`role`,`id`);
--> statement-breakpoint
CREATE INDEX `users_by_status` ON `users` (`tenant_id`,`status`,`id`);
--> statement-breakpoint
CREATE TRIGGER `users_counted` AFTER INSERT ON `users` BEGIN
	INSERT INTO `member_counts`(`tenant_id`, `users`, `suspended`) VALUES (new.`tenant_id`, 1, new.`status` = 'suspended')
		ON CONFLICT(`tenant_id`) DO UPDATE SET `users` = `users` + 1, `suspended` = `suspended` + excluded.`suspended`;
END;
--> statement-breakpoint
CREATE TRIGGER `users_uncounted` AFTER DELETE ON `users` BEGIN
	UPDATE `member_counts` SET `users` = `users` - 1, `suspended` = `suspended` - (old.`status` = 'suspended')
		WHERE `tenant_id` = old.`tenant_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `users_recounted` AFTER UPDATE OF `status` ON `users` WHEN old.`status` <> new.`status` BEGIN
	UPDATE `member_counts` SET `suspended` = `suspended` + (new.`status` = 'suspended') - (old.`status` = 'suspended')
		WHERE `tenant_id` = new.`tenant_id`;
END;
--> statement-breakpoint
INSERT INTO `member_counts`(`tenant_id`, `users`, `suspended`)
SELECT `tenant_id`, count(*), sum(`status` = 'suspended') FROM `users` GROUP BY `tenant_id`;
